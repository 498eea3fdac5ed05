"""`hero bench learn` with a tiny model and the real judges: tables, plots, figures."""

import json
from pathlib import Path

from hero_process import SMALL, Hero


def test_a_study_from_the_command_line(hero: Hero, tiny_model: Path) -> None:
    out = hero.home / "study"
    settings = {**SMALL, "model": tiny_model, "batch": 4, "lora.targets": ["to_q"], "sft.steps": 2}
    command = ["bench", "learn", "--tasks", "hands", "--methods", "sft", "--seeds", "0-1"]
    command += ["--labels", 8, "--every", 4, "--images", 2, "--out", out]
    for name, value in settings.items():
        command += ["--set", f"{name}={json.dumps(value, default=str)}"]
    done = hero.warm(*command).end()
    assert done.code == 0, done.err
    for labels in (4, 8):
        assert f"hero: hands sft seed 1: {labels} labels, fresh " in done.err
    assert "**Success**" in done.out and "| hands | sft | 8 | 2 | " in done.out
    assert "*base, 8 steps, eta 0.5, guidance 1*" in done.out
    assert "**Labels needed, with fresh noise**" in done.out
    text = (out / "results.md").read_text("utf-8")
    assert done.out.strip() in text and "hero bench learn --tasks hands --methods sft" in text
    assert (out / "hands.png").read_bytes().startswith(b"\x89PNG")
    [first, second] = (json.loads(path.read_text()) for path in sorted(out.glob("trials/*.json")))
    assert (first["seed"], second["seed"]) == (0, 1)
    assert [len(letters) for letters in first["labels"]] == [4, 4]

    again = hero.warm(*command, "--json").end()
    assert again.code == 0 and "labels, fresh" not in again.err
    [row] = json.loads(again.out)
    assert (row["method"], row["seeds"], row["labels"]) == ("sft", 2, 8)

    for path in (out / "results.md", out / "hands.png"):
        path.unlink()
    report = hero.warm(*command, "--seeds", "0-2", "--report").end()
    assert report.code == 0 and report.out == done.out and "labels, fresh" not in report.err
    assert "1 of the runs are missing or not finished" in report.err
    assert (out / "results.md").exists() and (out / "hands.png").exists()

    other = hero.warm(*command, "--images", 3).end()
    assert other.code == 4 and "use another folder for --out" in other.err
