"""Rounds from end to end on a tiny pipeline: their order, and that a stop changes nothing."""

import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import Script, go, left_behind, new_run, tiny_settings

from hero_engine.config import SamplerSettings
from hero_engine.errors import HeroError, StopRequested
from hero_engine.evaluate import trained
from hero_engine.files import read_tensors
from hero_engine.journal import Journal
from hero_engine.labellers import read_pictures
from hero_engine.learner import Learner
from hero_engine.pipeline import Model, open_model
from hero_engine.protocol import (
    Event,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
)
from hero_engine.reporting import Deliver
from hero_engine.rundir import RunDir

UPDATES = ("ddpo", "forward")
LINES = ("*gbg.b", "bg*bbb")


@pytest.fixture(params=UPDATES)
def update(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(square_folder: Path, tmp_path: Path) -> Callable[..., RunDir]:
    """New runs, each in a folder of its own."""

    def make(name: str = "run", **changes: Any) -> RunDir:
        return new_run(tmp_path / name, tiny_settings(square_folder, **changes))

    return make


def test_a_run_end_to_end(make: Callable[..., RunDir], update: str) -> None:
    folder, events = make(update=update), list[Event]()
    _, finished = go(folder, Script(*LINES), tell=events.append)
    assert finished == Finished(str(folder.path), 2, 11, "budget")

    told = [event for event in events if not isinstance(event, Progress)]
    assert [type(event) for event in told] == [
        PhaseStarted,
        *[ImagesReady] * 3,
        *[PhaseStarted] * 2,
        RoundFinished,
    ] * 2
    phases = [(event.round, event.phase) for event in told if isinstance(event, PhaseStarted)]
    assert phases == [(r, p) for r in (0, 1) for p in ("sampling", "labelling", "training")]
    ready = [event for event in told if isinstance(event, ImagesReady)]
    assert [event.indices for event in ready] == [(0, 1), (2, 3), (4, 5)] * 2
    assert all(Path(path).is_file() for event in ready for path in event.paths)
    first, second = (event for event in told if isinstance(event, RoundFinished))
    assert (first.labels, first.good, first.unlabelled, first.labels_total) == (5, 3, 1, 5)
    assert (second.labels, second.good, second.unlabelled, second.labels_total) == (6, 2, 0, 11)
    assert first.updated and second.updated
    assert first.note == "1 without a label are left out" and second.note == ""
    assert (first.metrics["guided"], second.metrics["guided"]) == (0, 1)
    assert set(first.seconds) == {"sample", "embed", "update"}
    steps = [(event.step, event.done, event.total) for event in events if type(event) is Progress]
    assert {("sample", 6, 6), ("embed", 3, 3)} < set(steps)
    assert steps[-1][0] == "update" and steps[-1][1] == steps[-1][2]

    kept = {path for path in left_behind(folder) if not path.startswith("checkpoints")}
    assert kept == {
        f"{path}" for r in (0, 1) for path in (f"rounds/r00{r}/latents.safetensors",)
    } | {f"images/r00{r}/00{image}.png" for r in (0, 1) for image in range(6)}
    with Journal(folder.journal_path) as journal:
        assert journal.current() == (1, "done")
        assert [row["labels_total"] for row in journal.metrics()] == [5, 11]
    go(folder, Script(), tell=events.append)  # the budget is used: nothing more happens
    assert len([event for event in events if isinstance(event, RoundFinished)]) == 2


def test_the_round_in_which_the_budget_ends_is_finished(make: Callable[..., RunDir]) -> None:
    _, finished = go(make(update="forward", labels=7), Script("*gbbbb"))
    assert (finished.rounds, finished.labels, finished.reason) == (2, 12, "budget")


def test_rounds_go_before_the_budget_and_more_rounds_before_both(
    make: Callable[..., RunDir],
) -> None:
    folder = make(update="forward", labels=1, rounds=2)
    _, finished = go(folder, Script("*gbbbb"))
    assert (finished.rounds, finished.reason) == (2, "rounds")
    _, finished = go(folder, Script("*gbbbb"), more_rounds=1)
    assert (finished.rounds, finished.reason) == (3, "rounds")


# --- interrupted is uninterrupted


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
        settings = tiny_settings(
            square_folder,
            update=update,
            minibatch=3,
            sampler=SamplerSettings(steps=2, guidance=1.0),
            embedding=replace(tiny_settings(square_folder).embedding, epochs=2),
            forward=replace(tiny_settings(square_folder).forward, steps=2),
        )

        def folder(name: str) -> RunDir:
            path = root / update / name
            return RunDir.open(path) if path.exists() else new_run(path, settings)

        model = open_model(settings.model, settings.lora, "cpu", seed=settings.seed)
        made = Process(model, folder)
        assert made.run("straight") == QUESTIONS
        return made

    return process


QUESTIONS = 26
PLACES = {
    "sample": "sampling",
    "label": "waiting for labels",
    "train_embedding": "embedding",
    "improve": "update",
    "_enter": "between phases",
}
stopped: dict[str, Counter[str]] = {update: Counter() for update in UPDATES}


@pytest.mark.parametrize("stop_at", range(1, QUESTIONS + 1))
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], update: str, stop_at: int
) -> None:
    process, name = processes(update), f"stop-{stop_at}"
    with pytest.raises(StopRequested) as stop:
        process.run(name, stop_at)
    frames = [frame.name for frame in traceback.extract_tb(stop.tb)]
    stopped[update][next(PLACES[each] for each in reversed(frames) if each in PLACES)] += 1
    process.run(name)
    assert_same(process, name)


def test_those_were_stops_in_every_phase(update: str) -> None:
    """Of two rounds: 4 denoising steps, 2 waits, 2 epochs, 2 optimizer steps, 3 doors each."""
    if sum(stopped[update].values()) == QUESTIONS:
        assert stopped[update] == {
            "sampling": 8,
            "waiting for labels": 4,
            "embedding": 4,
            "update": 4,
            "between phases": 6,
        }


WRITES: list[tuple[Any, str, int]] = [
    (RunDir, "save_picture", 8),  # the second of round 1
    (RunDir, "save_part", 4),
    (Journal, "add_images", 3),
    (Journal, "set_phase", 5),
    (Journal, "mark", 2),
    (Journal, "submit", 2),
    (RunDir, "save_checkpoint", 1),
    (RunDir, "save_checkpoint", 2),
    (RunDir, "condense", 2),
    (Path, "unlink", 1),
    (Path, "unlink", 3),  # of the two minibatches of round 1 one is gone
    (Journal, "finish_round", 1),
    (Journal, "finish_round", 2),
]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "write", "nth"), WRITES)
def test_a_crash_around_any_write_changes_nothing(
    processes: Callable[[str], Process],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    write: str,
    nth: int,
    before: bool,
) -> None:
    process, name, calls = processes("ddpo"), f"{write}-{nth}-{before}", count(1)
    real = getattr(owner, write)

    def crash(*args: Any, **options: Any) -> Any:
        now = next(calls) == nth
        if now and before:
            raise Crash
        result = real(*args, **options)
        if now:
            raise Crash
        return result

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


def assert_same(process: Process, name: str) -> None:
    """Pictures and tensors byte by byte, labels and figures; the clock alone may differ."""
    straight, interrupted = process.folder("straight"), process.folder(name)
    assert left_behind(interrupted) == left_behind(straight)
    assert figures(interrupted) == figures(straight)


def figures(folder: RunDir) -> list[Any]:
    with Journal(folder.journal_path) as journal:
        labels = [journal.labels(round, 6) for round in range(len(LINES))]
        return [journal.current(), *labels, *({**row, "seconds": 0} for row in journal.metrics())]


def test_what_is_on_the_disk_is_what_was_learned(make: Callable[..., RunDir], update: str) -> None:
    folder = make(update=update)
    learner, _ = go(folder, Script(*LINES))
    again = trained(folder, "cpu")
    found = folder.load_checkpoint()
    assert found is not None
    for parts in (again.parts(), found[0]):
        for part, tensors in learner.parts().items():
            assert parts[part].keys() == tensors.keys()
            assert all(torch.equal(parts[part][name], each) for name, each in tensors.items())
    assert len(learner.parts()["optimizer"]) == 3 * len(learner.model.lora_parameters())


def test_a_lost_checkpoint_is_told(make: Callable[..., RunDir]) -> None:
    folder = make(update="forward")
    go(folder, Script(*LINES))
    for lost in ("r002", "r001"):
        shutil.rmtree(folder.path / "checkpoints" / lost)
        with pytest.raises(HeroError, match="checkpoint of round 1 is missing") as error:
            go(folder, Script(*LINES), more_rounds=1)
        assert error.value.exit_code == 4


@pytest.mark.parametrize("minibatch", [3, 4, 6])
def test_the_minibatch_changes_no_picture(make: Callable[..., RunDir], minibatch: int) -> None:
    """Rounding may: sums of other shapes differ in their last bits."""
    two, other = make("two", rounds=1), make("other", rounds=1, minibatch=minibatch)
    go(two, Script(*LINES))
    go(other, Script(*LINES))
    for image in range(6):
        pixels = [read_pictures({0: run.picture_path(0, image)}) for run in (two, other)]
        assert np.abs(np.subtract(*pixels, dtype=int)).max() <= 1
    latents = [read_tensors(run.path / "rounds/r000/latents.safetensors") for run in (two, other)]
    assert torch.equal(*(each["noises_B_C_H_W"] for each in latents))
    assert torch.allclose(*(each["latents_B_C_H_W"] for each in latents), atol=1e-5)


# --- odd rounds are legal
