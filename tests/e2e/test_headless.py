"""Runs without the app: what they print, and that no interruption changes what they learn."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from hero_process import BATCH, ROUNDS, Done, FinishedRun, Hero, small_run, write_labels
from pytest import CaptureFixture
from safetensors.torch import load_file

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import load_task
from hero_engine.labelling.annotators import SimulatedAnnotator
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import Trainer
from hero_tui.commands.headless import Limits, run_headless


def test_stdout_is_a_json_line_a_round_and_a_last_one(finished: FinishedRun) -> None:
    assert finished.said.code == 0
    *rounds, last = finished.said.lines()
    assert [line["event"] for line in rounds] == ["round"] * ROUNDS
    assert [line["round"] for line in rounds] == list(range(ROUNDS))
    for line in rounds:
        assert (line["labels"], line["good"]) == (BATCH, BATCH // 2)
        assert -1 <= line["reward_mean"] <= 1
        assert line["seconds"].keys() == {"sample", "embed", "update"}
        assert min(line["seconds"].values()) > 0
    assert last["event"] == "finished"
    assert last["run"] == str(finished.path)
    assert (last["rounds"], last["labels"], last["reason"]) == (ROUNDS, ROUNDS * BATCH, "rounds")


def test_stderr_has_only_heros_own_lines(finished: FinishedRun) -> None:
    talk = finished.said.err.splitlines()
    assert all(line.startswith("hero: ") for line in talk)
    assert len(talk) == 2 + ROUNDS + 1 and "parameters: " in talk[1]


def test_resuming_a_finished_run_says_so(hero: Hero, finished: FinishedRun) -> None:
    again = hero("resume", finished.path, "--headless", "--labels", "judge")
    assert again.code == 0
    assert again.lines() == [finished.said.lines()[-1]]
    assert again.err.startswith("hero: finished already: ")


class Troubled:
    """A run that is terminated, starved of labels, killed, and each time resumed."""

    def __init__(self, hero: Hero, model: Path, labels: Path) -> None:
        self.hero, self.path = hero, hero.home / "troubled"
        few = write_labels(hero.home / "few.jsonl", [0])
        self._terminate(small_run(model, self.path, labels))
        self.starved = self._resume(few)
        self._kill(labels)
        self.status_of_killed = hero("status", self.path, "--json")
        self.last = self._resume(labels)

    def _terminate(self, command: list[object]) -> None:
        running = self.hero.warm(*command)
        running.wait(self._part(0).exists)
        with running.held_still():  # or it may end its round before the second has begun
            self.second = self.hero("resume", self.path, "--headless", "--labels", "judge")
            begun = time.monotonic()
            running.signal(signal.SIGTERM)
        self.terminated = running.end()
        self.seconds_to_stop = time.monotonic() - begun

    def _kill(self, labels: Path) -> None:
        running = self.hero.warm("resume", self.path, "--headless", "--labels", labels)
        running.wait(self._part(2).exists)
        running.signal(signal.SIGKILL)
        self.killed = running.end()

    def _resume(self, labels: Path) -> Done:
        return self.hero.warm("resume", self.path, "--headless", "--labels", labels).end()

    def _part(self, round: int) -> Path:
        return self.path / "rounds" / f"r{round:03}" / "part-00000.safetensors"


@pytest.fixture(scope="module")
def troubled(hero: Hero, tiny_model: Path, labels: Path) -> Troubled:
    return Troubled(hero, tiny_model, labels)


def test_sigterm_stops_within_seconds_resumable(troubled: Troubled) -> None:
    assert troubled.terminated.code == 75
    assert troubled.seconds_to_stop < 5
    assert troubled.terminated.err.splitlines()[-1] == (
        f"hero: stopped (SIGTERM). Continue with: hero resume {troubled.path}"
    )
    assert troubled.terminated.lines()[-1]["reason"] == "stopped"


def test_a_run_at_work_cannot_be_opened_again(troubled: Troubled) -> None:
    assert (troubled.second.code, troubled.second.out) == (4, "")
    assert troubled.second.err.startswith(f"hero: {troubled.path} is in use by another hero (pro")


def test_a_run_waits_where_labels_run_out(troubled: Troubled) -> None:
    *rounds, last = troubled.starved.lines()
    assert troubled.starved.code == 5
    assert [line["round"] for line in rounds] == [0]
    assert (last["event"], last["reason"]) == ("finished", "labels")
    assert 'few.jsonl has no labels for round 2 ("round": 1)' in troubled.starved.err


def test_a_killed_run_is_called_interrupted(troubled: Troubled) -> None:
    assert troubled.killed.code == -signal.SIGKILL
    assert json.loads(troubled.status_of_killed.out)["state"] == "interrupted"


def test_interruptions_change_no_bit_of_what_is_learned(
    troubled: Troubled, finished: FinishedRun
) -> None:
    assert troubled.last.code == 0
    whole, pieced = (
        load_file(run.path / "checkpoints" / f"r{ROUNDS:03}" / "lora.safetensors")
        for run in (finished, troubled)
    )
    assert whole.keys() == pieced.keys()
    assert all(whole[name].equal(pieced[name]) for name in whole)
    assert any(weight.abs().max() > 0 for name, weight in whole.items() if "lora_B" in name)
    told = [run.lines()[-2]["reward_mean"] for run in (finished.said, troubled.last)]
    assert told[0] == told[1]


def test_the_first_signal_may_come_before_the_engine(hero: Hero, tiny_model: Path) -> None:
    run = hero.home / "early"
    labels = write_labels(hero.home / "early.jsonl", range(ROUNDS))
    starting = hero.start(*small_run(tiny_model, run, labels))
    starting.wait((run / "lock").exists)
    starting.signal(signal.SIGINT)
    done = starting.end()
    assert done.code == 130
    assert [(line["reason"], line["note"]) for line in done.lines()] == [("stopped", "SIGINT")]


def test_a_signal_while_the_model_is_opened_waits_for_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    def opened(*_: object) -> Trainer:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on opening")

    monkeypatch.setattr(Trainer, "open", opened)
    run = RunDir.create(tmp_path / "run", Settings(model=str(tiny_model)), load_task("hands"))
    code = run_headless(run, lambda folder: SimulatedAnnotator(folder.task), Limits(), None)
    said = capsys.readouterr()
    assert code == 75
    assert said.err == f"hero: stopped (SIGTERM). Continue with: hero resume {run.path}\n"
    assert json.loads(said.out)["reason"] == "stopped"
    assert run.status()["state"] == "stopped"
