"""`hero run` on a terminal, with the real engine: label a round, quit, resume."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hero_process import BATCH, PATIENCE, PROJECT, FinishedRun, Hero, small_run

sys.path.append(str(PROJECT / "tests" / "tui"))

from fake_terminal import FakeTerminal

CLI = PROJECT / "hero_tui" / "cli.py"


@pytest.fixture
def terminals() -> Iterator[list[FakeTerminal]]:
    """Two terminals, one for each session."""
    made = [FakeTerminal("plain", 100, 40) for _ in range(2)]
    yield made
    for terminal in made:
        terminal.close()


def begin(terminal: FakeTerminal, hero: Hero, *arguments: object) -> None:
    terminal.run(CLI, *map(str, arguments), **hero.environment)


def await_text(terminal: FakeTerminal, *texts: str) -> None:
    terminal.pump(lambda: all(terminal.shows(text) for text in texts), PATIENCE)


def await_pictures(terminal: FakeTerminal, *texts: str) -> None:
    """It is the person's turn, with these texts, and every picture of the round is drawn."""
    drawn = lambda: not terminal.shows("still drawing")  # noqa: E731
    wanted = ("your turn", *texts)
    terminal.pump(lambda: all(map(terminal.shows, wanted)) and drawn(), PATIENCE)


def await_end(terminal: FakeTerminal) -> int:
    terminal.pump(terminal.ended, PATIENCE)
    terminal.listen(0.1)
    assert terminal.process is not None
    return int(terminal.process.returncode)


def submit(terminal: FakeTerminal) -> int:
    """Press Enter until the app ends, with pauses: an Enter too soon after a page is not taken."""
    until = time.monotonic() + PATIENCE
    while not terminal.ended() and time.monotonic() < until:
        terminal.type("\r")
        pause = time.monotonic() + 1.0
        while not terminal.ended() and time.monotonic() < pause:
            terminal.listen(0.1)
    return await_end(terminal)


def test_a_round_is_labelled_and_the_next_one_survives_a_stop(
    terminals: list[FakeTerminal], hero: Hero, tiny_model: Path
) -> None:
    first, second = terminals
    run = hero.home / "app"
    command = [word for word in small_run(tiny_model, run, "") if word != "--headless"]
    at = command.index("--labels")
    begin(first, hero, *command[:at], *command[at + 2 :])
    await_text(first, "Press the letter of every good picture, and Shift")
    first.type("\r")
    await_pictures(first, "round 1 ")
    first.type("W")
    first.listen(0.2)
    first.type("\r")
    await_pictures(first, "round 2 ", "Round 1 is learned")
    first.type("\r")
    await_text(first, "page 1/1")
    first.type("e")
    await_text(first, "e  ● good")
    first.type(" ")
    await_text(first, f"of {BATCH}  ● good")
    assert first.process is not None
    first.process.send_signal(signal.SIGTERM)
    assert await_end(first) == 75
    assert f"Continue with: hero resume {run}" in first.heard
    assert "Traceback" not in first.heard

    facts = json.loads(hero.warm("status", run, "--json").end().out)
    assert (facts["state"], facts["phase"], facts["labels"]) == ("stopped", "labelling", BATCH)
    assert [each["good"] for each in facts["rounds"]] == [1]
    assert facts["labelled_in_round"] == 1
    the_commands_count_as_the_app_does(hero, run, first.heard)

    begin(second, hero, "resume", run)
    await_text(second, "round 2 ", "e  ● good")
    second.type("\x11")
    assert await_end(second) == 75


def the_commands_count_as_the_app_does(hero: Hero, run: Path, heard: str) -> None:
    """They take and print the numbers that the app showed: its round, and the picture in its zoom.

    The round is the second, and one picture of it is labelled: good.
    """
    (round,) = re.findall(r"hero: stopped in round (\d+) \(labelling; 1 mark is saved\)", heard)
    picture = re.findall(r"picture (\d+)", heard)[-1]
    status = hero.warm("status", run).end().out
    assert f"stopped in round {round} (labelling); 1 marked in round {round}, " in status
    assert status.splitlines()[-1].split()[:2] == [str(int(round) - 1), str(BATCH)]
    show = hero.warm("show", run, "--round", round).end().out
    assert show.startswith(f"round {round}: 1 good of 1 labelled\n") and f"{picture} good" in show
    table = hero.warm("labels", run, "--round", round).end().out
    assert table.split()[:3] == [round, picture, "good"]
    branch = hero.home / "branch-of-app"
    again = hero.warm("resume", run, "--from-round", round, "--dir", branch, "--headless").end()
    assert again.code == 5, again
    assert f"hero: round {round} starts again in {branch}\n" in again.err
    assert f"hero: round {round} waits for labels: " in again.err
    first = hero.warm("show", branch, "--round", int(round) - 1).end().out
    assert first.startswith(f"round {int(round) - 1}: 1 good of {BATCH} labelled\n")


@pytest.mark.parametrize("others", [[], ["theirs"]], ids=["base", "another run"])
def test_a_blind_comparison_is_interrupted_continued_and_prints_its_result(
    terminals: list[FakeTerminal], hero: Hero, finished: FinishedRun, others: list[str]
) -> None:
    first, second = terminals
    for name in ["two-models", *others]:
        shutil.copytree(finished.path, hero.home / name, dirs_exist_ok=True)
    runs = [hero.home / name for name in ["two-models", *others]]
    command = ["eval", *runs, "--human", "--images", "4"]
    rival = "other" if others else "base"
    begin(first, hero, *command)
    await_text(first, "your turn", ", blind")
    first.type("w")
    await_text(first, "w  ● good")
    first.type("\x11")
    assert await_end(first) == 75
    assert f"Continue with: hero eval {' '.join(map(str, runs))} --human --images 4" in first.heard

    begin(second, hero, *command)
    await_pictures(second, "w  ● good")
    assert submit(second) == 0
    assert "difference  " in second.heard and "4 pairs" in second.heard
    told = json.loads(hero.warm(*command, "--json").end().out)
    assert (told["n"], told["judged"], told[f"{rival}_judged"], told["pairs"]) == (4, 4, 4, 4)
    assert sorted([told["success_rate"], told[f"{rival}_success_rate"]]) == [0, 0.25]
    assert abs(told["difference"]) == 0.25
