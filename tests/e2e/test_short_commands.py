"""What a person types without reading: prompts, starts of names, other locales, lists of runs."""

import json
import shutil
from pathlib import Path

import pytest
from hero_process import FinishedRun, Hero

from hero_engine.storage.mark_log import LoggedMark, append
from hero_tui.cli import app, run_command

FIXTURES = Path(__file__).parents[1] / "fixtures/runs-0.1.0"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of three runs, one of them damaged."""
    for name in ("ddpo-sampling", "hero-plus-ahead"):
        shutil.copytree(FIXTURES / name, tmp_path / name)
    damaged = tmp_path / "ddpo-broken"
    damaged.mkdir()
    (damaged / "run.toml").write_text("[settings]\n")
    return tmp_path


def test_runs_are_listed_in_columns_and_in_json(hero: Hero, runs: Path) -> None:
    done = hero.warm("runs", HERO_RUNS=str(runs)).end()
    assert (done.code, done.err) == (0, "")
    head, *rows = [line.split() for line in done.out.splitlines()]
    assert head == ["name", "state", "rounds", "labels", "budget", "task"]
    assert ["ddpo-sampling", "stopped", "1", "6", "18", "hands"] in rows
    assert ["ddpo-broken", "damaged", "-", "-", "-", "-"] in rows and len(rows) == 3
    found = json.loads(hero.warm("runs", "--json", HERO_RUNS=str(runs)).end().out)
    assert [row["name"] for row in found] == [row[0] for row in rows]
    assert {row["name"]: row.get("problem", "") for row in found}["ddpo-broken"]


def test_no_runs_yet(hero: Hero, tmp_path: Path) -> None:
    done = hero.warm("runs", HERO_RUNS=str(tmp_path)).end()
    assert (done.code, done.out) == (0, "")
    assert "start one with: hero run hands" in done.err


def test_a_run_by_the_start_of_its_name(hero: Hero, runs: Path) -> None:
    done = hero.warm("status", "hero-p", HERO_RUNS=str(runs)).end()
    assert done.out.splitlines()[0] == str(runs / "hero-plus-ahead")
    done = hero.warm("status", "ddpo", HERO_RUNS=str(runs)).end()
    assert done.code == 4 and "2 runs begin with ddpo: " in done.err
    assert "type more of the name" in done.err


@pytest.mark.parametrize("command", ["tasks", "status", "config show --task hands", "--help"])
def test_a_locale_without_the_characters_does_not_crash(
    hero: Hero, runs: Path, command: str
) -> None:
    shutil.rmtree(runs / "ddpo-broken")
    environment = {"PYTHONIOENCODING": "latin-1", "HERO_RUNS": str(runs)}
    done = hero(*command.split(), **environment)
    assert (done.code, done.err) == (0, "")
    if command in ("tasks", "status"):
        assert '"1 hand"' in done.out


def test_a_prompt_that_the_embedded_model_does_not_know_is_said_first(hero: Hero) -> None:
    arguments = ("run", "a red bicycle", "--good", "two wheels", "--headless", "--labels", "none")
    small = ("--batch", 2, "--set", "sampler.steps=1", "--dir", hero.home / "bicycle")
    done = hero.warm(*arguments, *small).end()
    assert done.code == 5
    first, *_ = done.err.splitlines()
    assert first.startswith("hero: the embedded model cannot draw 'a red bicycle'")
    assert "--model FOLDER" in first
    facts = json.loads(hero.warm("status", hero.home / "bicycle", "--json").end().out)
    assert (facts["task"], facts["prompt"]) == ("a-red-bicycle", "a red bicycle")


def test_export_replaces_a_file_only_if_forced(hero: Hero, finished: FinishedRun) -> None:
    out = hero.home / "exported" / "hands.safetensors"
    arguments = ("export", finished.path, "--out", out, "--card")
    assert hero.warm(*arguments).end().code == 0
    out.write_bytes(b"mine")
    done = hero.warm(*arguments).end()
    assert done.code == 2 and "replace it with --force" in done.err
    assert out.read_bytes() == b"mine"
    assert hero.warm(*arguments, "--force").end().code == 0
    assert out.read_bytes() != b"mine"


def test_help_has_commands_first_and_exit_codes_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(part) for part in ("Commands:", "Options:", "Environment:", "Exit codes")]
    assert places == sorted(places) and "<bool>" not in text and "\b" not in text
    assert text.rstrip().splitlines()[-1].split()[0] == "130"


@pytest.mark.parametrize("arguments", ["--help", "run --help", "bench --help", "bench speed -h"])
def test_the_needed_command_answers_as_the_whole_app(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments.split()) == 0
    part = capsys.readouterr().out
    app(arguments.split(), prog_name="hero", standalone_mode=False)
    assert capsys.readouterr().out == part


@pytest.mark.parametrize("command", ["run", "resume", "label", "labels", "eval", "export"])
def test_help_opens_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.index(f"\n  hero {command} ") < text.index("Options:")
    assert "<bool>" not in text


def test_lost_marks_are_named_by_every_command_and_dropped_by_resume(
    hero: Hero, tmp_path: Path
) -> None:
    """As after damage to journal.db-wal: marks.log has a mark that the journal has not."""
    run = tmp_path / "run"
    shutil.copytree(FIXTURES / "ddpo-sampling", run)
    append(run / "marks.log", [LoggedMark(6, 0, 1, "best"), LoggedMark(99, 1, 4, "good")])
    for command in ("status", "labels", "show", "resume"):
        done = hero.warm(command, run, *["--headless"] * (command == "resume")).end()
        assert done.code == 4 and "1 mark of round 2 (image 5) lost" in done.err, command
    assert hero.warm("status", run).end().code == 0
    assert hero.warm("resume", run, "--headless").end().code == 5
