"""Every mistake gets one line that says what was wrong, and its exit code; never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hero_process import BATCH, Done, FinishedRun, Hero, small_run

RUN = "run --task hands --model {model}"
HEADLESS = f"{RUN} --headless"

WRONG = {
    "frob": (2, "No such command 'frob'. See: hero --help"),
    "run": (2, "Missing option '--task'. See: hero run --help"),
    f"{RUN} --frob": (2, "No such option: --frob"),
    f"{RUN} --rounds 0": (2, "--rounds"),
    f"{RUN} --batch many": (2, "--batch"),
    f"{RUN} --seed -1": (2, "--seed"),
    "run --task feet": (2, "no task is called 'feet'; there are black-cat, "),
    "run --task feet.toml": (2, "there is no task file feet.toml"),
    "run --task bad.toml": (2, "bad.toml is not valid TOML"),
    "run --task empty.toml": (2, 'a task needs a line such as: prompt = "a red bicycle"'),
    "run --task typo.toml": (2, "unknown key 'promt'"),
    f"{RUN} --preset fast": (2, "no preset is called 'fast'; there are paper, embedded"),
    f"{RUN} --update sgd": (2, "update is 'sgd'; allowed is one of ddpo, forward"),
    f"{RUN} --graphics vga": (2, "--graphics vga: choose one of auto, kitty, sixel, symbols"),
    f"{RUN} --set sampler": (2, "--set sampler: write KEY=VALUE"),
    f"{RUN} --set speed=9": (2, "unknown setting 'speed'; known are: batch, "),
    f"{RUN} --set sampler.steps=0": (2, "sampler.steps is 0; allowed is a whole number from 1"),
    f"{RUN} --set sampler=1 --set sampler.steps=2": (2, "another --set gives sampler"),
    f"{RUN} --labels judge": (2, "--labels goes with --headless"),
    RUN: (2, "needs a terminal on stdin and stdout; without one, use --headless --labels"),
    HEADLESS: (2, "--headless needs --labels judge or --labels FILE.jsonl"),
    f"{HEADLESS} --labels none.jsonl": (2, "labels file none.jsonl: No such file or directory"),
    f"{HEADLESS} --labels .": (2, "cannot read the labels file .: Is a directory"),
    f"{HEADLESS} --labels words.jsonl": (2, "words.jsonl"),
    f"{HEADLESS} --labels twice.jsonl": (2, "picture 1 has a label already, in line 1"),
    f"{HEADLESS} --labels beyond.jsonl --batch 64": (2, '"image" is 64; a round has pictures 0 to'),
    "run --task mine.toml --model {model} --headless --labels judge": (2, "no judge knows"),
    "run --task hands --model nosuch": (3, "neither 'embedded', a folder, nor a hub id"),
    "run --task hands --model {home}": (3, "holds no diffusers pipeline"),
    f"{HEADLESS} --labels {{labels}} --batch {BATCH} --dir /proc/a": (3, "cannot write to /proc/a"),
    f"{HEADLESS} --labels {{labels}} --batch {BATCH} --dir {{run}}": (4, "hero resume {run}"),
    f"{HEADLESS} --labels {{labels}} --batch {BATCH} --dir {{home}}": (4, "another --dir"),
    "resume": (4, "there is no run in {home}/runs; start one with: hero run --task hands"),
    "resume gone": (4, "gone is not a run"),
    "resume {run} --rounds 1": (2, "needs a terminal"),
    "resume {run} --graphics vga": (2, "choose one of auto"),
    "status": (4, "there is no run in"),
    "status gone --json": (4, "gone is not a run"),
    "status damaged": (4, "run.toml is damaged"),
    "status a b": (2, "Got unexpected extra argument"),
    "show gone": (4, "gone is not a run"),
    "show {run} --round 9": (4, "has no pictures of round 9"),
    "eval gone": (4, "gone is not a run"),
    "eval {run} --images 1": (2, "--images"),
    "eval {run} --noise loud": (2, "--noise loud: choose fresh or guided"),
    "export {run}": (2, "Missing option '--out'. See: hero export --help"),
    "export gone --out x.safetensors": (4, "gone is not a run"),
    "export {run} --out /proc/x.safetensors": (3, "cannot write /proc/x.safetensors"),
}


def label(round: int, image: int) -> str:
    return json.dumps({"round": round, "image": image, "label": "good"}) + "\n"


@pytest.fixture(scope="module")
def places(hero: Hero, tiny_model: Path, labels: Path, finished: FinishedRun) -> dict[str, Path]:
    """What the mistakes name; the files among them lie in the folder where hero starts."""
    texts = {
        "bad.toml": "prompt = ",
        "empty.toml": "",
        "typo.toml": 'promt = "a"',
        "mine.toml": 'prompt = "a red bicycle"',
        "words.jsonl": "good good bad\n",
        "twice.jsonl": label(0, 1) * 2,
        "beyond.jsonl": label(0, 64),
        "damaged/run.toml": "[settings]\nbatch = 0",
    }
    for name, text in texts.items():
        path = hero.home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return {"home": hero.home, "model": tiny_model, "labels": labels, "run": finished.path}


def one_line(done: Done) -> str:
    """What a refused command said."""
    assert done.out == ""
    assert "Traceback" not in done.err
    (line,) = done.err.splitlines()
    assert line.startswith("hero: ")
    return line


@pytest.mark.parametrize("command", WRONG)
def test_one_line_and_an_exit_code(command: str, hero: Hero, places: dict[str, Path]) -> None:
    code, words = WRONG[command]
    before = sorted(hero.home.rglob("run.toml"))
    done = hero.warm(*command.format(**places).split()).end()
    line = one_line(done)
    assert words.format(**places) in line
    assert done.code == code
    assert sorted(hero.home.rglob("run.toml")) == before


def test_a_hub_model_that_is_out_of_reach(hero: Hero, labels: Path) -> None:
    run = hero.home / "hub-run"
    done = hero(*small_run(Path("nobody/nothing"), run, labels))
    assert "cannot open model nobody/nothing" in one_line(done)
    assert done.code == 3
    assert not run.exists()


def test_a_model_folder_without_its_unet(hero: Hero, tiny_model: Path, labels: Path) -> None:
    half = hero.home / "half"
    shutil.copytree(tiny_model, half, ignore=shutil.ignore_patterns("unet"))
    run = hero.home / "half-run"
    done = hero.warm(*small_run(half, run, labels)).end()
    assert f"cannot open model {half}" in one_line(done)
    assert done.code == 3
    assert not run.exists()


def test_a_lora_for_layers_that_the_model_lacks(hero: Hero, tiny_model: Path, labels: Path) -> None:
    run = hero.home / "lora-run"
    targets = ("--set", 'lora.targets=["gate"]')
    done = hero.warm(*small_run(tiny_model, run, labels, *targets)).end()
    assert "lora.targets: 'gate' names no layer" in one_line(done)
    assert done.code == 2
    assert not run.exists()


def test_a_damaged_journal(hero: Hero, finished: FinishedRun) -> None:
    damaged = hero.home / "no-journal"
    shutil.copytree(finished.path, damaged)
    (damaged / "journal.db").write_bytes(b"not a database, whatever its name says" * 99)
    for command in ("status", "show", "resume"):
        done = hero.warm(command, damaged).end()
        assert "journal.db" in one_line(done)
        assert done.code == 4
