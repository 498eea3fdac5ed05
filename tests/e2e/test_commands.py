"""Commands that inspect or export a run."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from hero_process import BATCH, PROJECT, ROUNDS, FinishedRun, Hero, small_run
from safetensors import safe_open
from safetensors.torch import load_file

from hero_engine import __version__
from hero_engine.core.errors import ExitCode


def test_status_shows_the_share_of_good_by_round(hero: Hero, finished: FinishedRun) -> None:
    done = hero("status", finished.path)
    place, model, state, empty, head, *rounds = done.out.splitlines()
    assert (done.code, done.err, empty) == (0, "", "")
    assert place == str(finished.path)
    assert model.startswith("“1 hand” with /")
    assert state == f"finished; {ROUNDS * BATCH} of {ROUNDS * BATCH} labels learned"
    assert head.split() == ["round", "labels", "good", "reward", "note"]
    assert [row.split()[:3] for row in rounds] == [
        [str(round), str(BATCH), "50%"] for round in range(1, ROUNDS + 1)
    ]


def test_status_in_json_agrees_with_what_the_run_printed(hero: Hero, finished: FinishedRun) -> None:
    facts = json.loads(hero("status", finished.path, "--json").out)
    printed = finished.said.lines()[:-1]
    assert (facts["state"], facts["labels"]) == ("finished", ROUNDS * BATCH)
    assert [each["good_share"] for each in facts["rounds"]] == [0.5] * ROUNDS
    for name in ("round", "labels", "good", "reward_mean", "note"):
        assert [each[name] for each in facts["rounds"]] == [line[name] for line in printed]


def test_tasks_are_listed_in_words_and_in_json(hero: Hero) -> None:
    listed, found = hero("tasks").out, json.loads(hero("tasks", "--json").out)
    assert {task["name"] for task in found} >= {"hands", "blue-rose", "black-cat", "safety"}
    for task in found:
        assert task["name"] in listed
        assert task["prompt"] in listed


@pytest.mark.parametrize("command", ["tasks", "status"])
def test_inspection_imports_neither_torch_nor_textual(
    command: str, hero: Hero, finished: FinishedRun
) -> None:
    arguments = [command] if command == "tasks" else [command, str(finished.path), "--json"]
    look = (
        "import sys; from hero_tui.cli import run_command; code = run_command(sys.argv[1:]);"
        "print(code, {'torch', 'textual', 'diffusers'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "0 set()\n"


def test_the_newest_run_is_the_one_meant_and_names_are_enough(
    hero: Hero, finished: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").symlink_to(finished.path)
    newest, named = (
        hero("status", *words, "--json", HERO_RUNS=str(tmp_path)) for words in ([], ["new"])
    )
    assert newest.out == named.out
    assert json.loads(newest.out)["run"] == str(tmp_path / "new")


def test_show_into_a_file_is_text_with_every_label(hero: Hero, finished: FinishedRun) -> None:
    done = hero("show", finished.path, "--round", 2)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"round 2: {BATCH // 2} good of {BATCH} labelled"
    for caption in ("1 good", "2 bad", "3 best", "4 bad", "5 good", "6 bad"):
        assert caption in done.out
    assert "\x1b" not in done.out or "▀" in done.out  # in letters, or by term-image


def test_a_closed_stdout_is_not_an_error(hero: Hero, finished: FinishedRun) -> None:
    pipeline = f"{sys.executable} -m hero_tui.cli status {finished.path} | head -c 1 >/dev/null"
    done = subprocess.run(
        ["bash", "-c", pipeline + "; echo ${PIPESTATUS[0]}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_exported_lora_is_the_checkpoints_under_diffusers_names(
    hero: Hero, finished: FinishedRun
) -> None:
    out = hero.home / "exports" / "hands.safetensors"
    done = hero.warm("export", finished.path, "--out", out).end()
    assert (done.code, done.out, done.err) == (0, "", f"hero: wrote {out}\n")
    with safe_open(out, "pt") as file:
        told = file.metadata()
    assert (told["task"], told["prompt"]) == ("hands", "1 hand")
    assert (told["rounds"], told["labels"]) == (str(ROUNDS), str(ROUNDS * BATCH))
    learned = load_file(finished.path / "checkpoints" / f"r{ROUNDS:03}" / "lora.safetensors")
    exported = load_file(out)
    assert exported.keys() == {f"unet.{name}" for name in learned}
    assert all(".lora_A." in name or ".lora_B." in name for name in exported)


def test_a_run_starts_from_an_exported_lora(
    hero: Hero, tiny_model: Path, finished: FinishedRun, labels: Path
) -> None:
    """In kohya's layout, with its model card beside it; its rank and layers become the run's."""
    out, run = hero.home / "kohya" / "hands.safetensors", hero.home / "second"
    arguments = ("export", finished.path, "--out", out, "--format", "kohya", "--card")
    done = hero.warm(*arguments).end()
    card = out.with_name("README.md")
    assert (done.code, done.err) == (0, f"hero: wrote {out}\nhero: wrote {card}\n")
    assert 'instance_prompt: "1 hand"' in card.read_text()
    begun = small_run(tiny_model, run, labels, "--init-lora", out, "--rounds", 1)
    done = hero.warm(*begun, "--negative-prompt", "six fingers").end()
    assert done.code == 0
    assert f"starting from {out}: rank 4, to_q" in done.err
    settings = tomllib.loads((run / "run.toml").read_text())["settings"]
    assert settings["lora"] == {
        "rank": 4,
        "alpha": 4,
        "targets": ["to_q", "to_k", "to_v", "to_out.0"],
        "block": "",
        "init": str(out),
    }
    assert settings["sampler"]["negative_prompt"] == "six fingers"
    learned = load_file(finished.path / "checkpoints" / f"r{ROUNDS:03}" / "lora.safetensors")
    first = load_file(run / "first-lora.safetensors")
    assert all(torch.allclose(first[name], weight) for name, weight in learned.items())
    assert first.keys() == learned.keys()


@pytest.mark.parametrize("noise", ["fresh", "guided"])
def test_evaluation_in_json(noise: str, hero: Hero, finished: FinishedRun) -> None:
    arguments = ("--images", 3, "--noise", noise, "--prompt", "2 hands", "--json")
    done = hero.warm("eval", finished.path, *arguments).end()
    scores = json.loads(done.out)
    assert done.code == 0
    assert scores.keys() >= {"success_rate", "base_success_rate", "diversity", "base_diversity"}
    assert (scores["n"], scores["noise"], scores["prompt"]) == (3, noise, "2 hands")
    assert 0 <= scores["success_rate"] <= 1
    assert scores["diversity"] > 0


def test_the_judge_labels_a_run_of_ones_own_rounds(hero: Hero, tiny_model: Path) -> None:
    done = hero.warm(*small_run(tiny_model, hero.home / "judged", "judge", "--rounds", 1)).end()
    (round, last) = done.lines()
    assert done.code == 0
    assert (round["labels"], round["unlabelled"]) == (BATCH, 0)
    assert (last["rounds"], last["reason"]) == (1, "rounds")
    more = hero.warm("resume", hero.home / "judged", "--headless", "--labels", "judge").end()
    assert more.err.startswith("hero: finished already")
    beyond = ("resume", hero.home / "judged", "--headless", "--labels", "judge", "--rounds", 1)
    assert [line["round"] for line in hero.warm(*beyond).end().lines()[:-1]] == [1]


def test_help_names_every_command_and_exit_code(hero: Hero) -> None:
    shown = hero("--help")
    assert (shown.code, shown.err) == (0, "")
    commands = "run resume label labels status tasks show eval export config doctor"
    for command in commands.split():
        assert f" {command} " in shown.out
    for code in ExitCode:
        assert f" {code}  " in shown.out


def test_the_version(hero: Hero) -> None:
    assert hero("--version").out == f"hero {__version__}\n"


def test_doctor_says_what_works_here(hero: Hero) -> None:
    done = hero.warm("doctor", "--json").end()
    found = json.loads(done.out)
    assert found["device"]["use"] == "cpu"
    assert "only --headless works" in found["terminal"]["pictures"]
    assert done.code == (3 if found["problems"] else 0)
    assert ("hero: " in done.err) == bool(found["problems"])
