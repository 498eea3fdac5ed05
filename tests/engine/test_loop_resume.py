"""Interrupted is uninterrupted: stops and crashes at any instant change nothing."""

import shutil
import traceback
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import LINES, UPDATES, Script, go, left_behind, new_run, tiny_settings

from hero_engine.errors import HeroError, StopRequested
from hero_engine.evaluate import trained
from hero_engine.journal import Journal
from hero_engine.learner import Learner
from hero_engine.pipeline import Model, open_model
from hero_engine.protocol import Event, ImagesReady, PhaseStarted, Progress, RoundFinished
from hero_engine.reporting import Deliver
from hero_engine.rundir import RunDir


class Crash(BaseException):
    """Nobody catches it."""


def forget(event: Event) -> None:
    pass


class Process:
    """Opens and runs a run as often as a test likes, on one model whose LoRA it sets back."""

    def __init__(self, model: Model, folder: Callable[[str], RunDir]) -> None:
        self.model, self.folder = model, folder
        self.start = model.lora_state()

    def run(self, name: str, stop_at: int | None = None, tell: Deliver = forget) -> int:
        """Go on with a run; the `stop_at`-th question whether to stop is answered yes.

        Returns how many such questions there were.
        """
        asked = 0

        def check_stop() -> None:
            nonlocal asked
            asked += 1
            if asked == stop_at:
                raise StopRequested

        self.model.load_lora_state(self.start)
        folder = self.folder(name)
        learner = Learner(folder.settings, self.model)
        script = Script(*LINES, check_stop=check_stop)
        go(folder, script, tell=tell, check_stop=check_stop, learner=learner)
        return asked


@pytest.fixture(scope="module")
def processes(
    square_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Process]:
    """For each update; in the run "straight" nothing happens but what should."""
    root = tmp_path_factory.mktemp("interrupted")

    @cache
    def process(update: str) -> Process:
        settings = tiny_settings(square_folder, update=update)

        def folder(name: str) -> RunDir:
            path = root / update / name
            return RunDir.open(path) if path.exists() else new_run(path, settings)

        model = open_model(settings.model, settings.lora, "cpu", seed=settings.seed)
        made = Process(model, folder)
        assert made.run("straight") == QUESTIONS
        return made

    return process


QUESTIONS = 26
STOPS = (1, 5, 10, *range(14, QUESTIONS + 1))
"""A few in the first round, all in the second."""
PLACES = {
    "sample": "sampling",
    "label": "waiting for labels",
    "train_embedding": "embedding",
    "improve": "update",
    "_enter": "between phases",
}


@pytest.fixture(scope="module")
def stopped_in(processes: Callable[[str], Process]) -> Callable[[int], str]:
    """Makes a stop, if nobody has, and goes on after it; the place where it stopped.

    Even instants with one update, odd ones with the other, to save time.
    """

    @cache
    def stopped_in(stop_at: int) -> str:
        process, name = processes(UPDATES[stop_at % 2]), f"stop-{stop_at}"
        with pytest.raises(StopRequested) as stop:
            process.run(name, stop_at)
        process.run(name)
        frames = [frame.name for frame in traceback.extract_tb(stop.tb)]
        return next(PLACES[each] for each in reversed(frames) if each in PLACES)

    return stopped_in


@pytest.mark.parametrize("stop_at", STOPS)
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], stopped_in: Callable[[int], str], stop_at: int
) -> None:
    assert stopped_in(stop_at)
    assert_same(processes(UPDATES[stop_at % 2]), f"stop-{stop_at}")


def test_those_are_stops_in_every_place(stopped_in: Callable[[int], str], update: str) -> None:
    its_own = [stop_at for stop_at in STOPS if UPDATES[stop_at % 2] == update]
    assert {stopped_in(stop_at) for stop_at in its_own} == set(PLACES.values())


WRITES: list[tuple[Any, str, int]] = [
    (Journal, "set_phase", 4),  # of round 1: sampling
    (RunDir, "save_picture", 8),
    (RunDir, "save_part", 3),
    (Journal, "add_images", 3),
    (Journal, "mark", 2),
    (Journal, "submit", 2),
    (RunDir, "save_checkpoint", 1),
    (RunDir, "save_checkpoint", 2),
    (RunDir, "condense", 2),
    (Path, "unlink", 3),  # one of the two minibatches of round 1
    (Journal, "finish_round", 1),
    (Journal, "finish_round", 2),
]


@pytest.mark.parametrize(("owner", "write", "nth"), WRITES)
def test_a_crash_after_any_write_changes_nothing(
    processes: Callable[[str], Process],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    write: str,
    nth: int,
) -> None:
    process, name = processes("ddpo"), f"{write}-{nth}"
    real, calls = getattr(owner, write), count(1)

    def crash(*args: Any, **options: Any) -> None:
        real(*args, **options)
        if next(calls) == nth:
            raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(owner, write, crash)
        process.run(name)
    process.run(name)
    assert_same(process, name)


def test_a_crash_while_a_round_is_told_changes_nothing(
    processes: Callable[[str], Process], update: str
) -> None:
    def tell(event: Event) -> None:
        if isinstance(event, RoundFinished):
            raise Crash

    process = processes(update)
    for _ in range(2):
        with pytest.raises(Crash):
            process.run("told", tell=tell)
    process.run("told")
    assert_same(process, "told")


def test_only_missing_pictures_are_made_again(make_run: Callable[..., RunDir]) -> None:
    folder, script = make_run(update="forward", rounds=1), Script(*LINES)

    def stop(event: Event) -> None:
        if isinstance(event, ImagesReady):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(folder, script, tell=stop)
    first = folder.picture_path(0, 0)
    before, events = first.stat().st_mtime_ns, list[Event]()
    go(folder, script, tell=events.append)
    assert first.stat().st_mtime_ns == before
    ready = [event.indices for event in events if isinstance(event, ImagesReady)]
    assert ready == [(0, 1, 2), (3, 4, 5)]  # who has just come is told of the old ones too
    progress = [event for event in events if isinstance(event, Progress)]
    assert min(event.done for event in progress if event.step == "sample") >= 3


def test_a_round_that_was_begun_is_finished_whatever_the_budget(
    make_run: Callable[..., RunDir],
) -> None:
    folder = make_run(update="forward", labels=5)

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, "labelling"):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(folder, Script(*LINES), tell=stop, more_rounds=2)
    _, finished = go(folder, Script(*LINES))
    assert (finished.rounds, finished.labels, finished.reason) == (2, 11, "budget")


def assert_same(process: Process, name: str) -> None:
    """Pictures and tensors byte by byte, labels and figures; the clock alone may differ."""
    straight, interrupted = process.folder("straight"), process.folder(name)
    assert left_behind(interrupted) == left_behind(straight)
    assert figures(interrupted) == figures(straight)


def figures(folder: RunDir) -> list[Any]:
    with Journal(folder.journal_path) as journal:
        labels = [journal.labels(round, 6) for round in range(len(LINES))]
        return [journal.current(), *labels, *({**row, "seconds": 0} for row in journal.metrics())]


def test_what_is_on_the_disk_is_what_was_learned(
    make_run: Callable[..., RunDir], update: str
) -> None:
    folder = make_run(update=update)
    learner, _ = go(folder, Script(*LINES))
    again = trained(folder, "cpu")
    found = folder.load_checkpoint()
    assert found is not None
    for parts in (again.parts(), found[0]):
        for part, tensors in learner.parts().items():
            assert parts[part].keys() == tensors.keys()
            assert all(torch.equal(parts[part][name], each) for name, each in tensors.items())
    assert len(learner.parts()["optimizer"]) == 3 * len(learner.model.lora_parameters())


def test_a_lost_checkpoint_is_told(make_run: Callable[..., RunDir]) -> None:
    folder = make_run(update="forward")
    go(folder, Script(*LINES))
    for lost in ("r002", "r001"):
        shutil.rmtree(folder.path / "checkpoints" / lost)
        with pytest.raises(HeroError, match="checkpoint of round 1 is missing") as error:
            go(folder, Script(*LINES), more_rounds=1)
        assert error.value.exit_code == 4
