"""Interrupted is uninterrupted: stops and crashes at any instant change nothing."""

import os
import random
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interrupted import QUESTIONS, Crash, Process, assert_same
from tiny_runs import LINES, UPDATES, Script, go

from hero_engine.core.errors import StopRequested
from hero_engine.core.events import Event, ImagesReady, PhaseStarted, Progress, RoundFinished
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import trained

STOPS = (1, 5, 10, *range(14, QUESTIONS + 1))
"""A few in the first round, all in the second."""
PLACES = {
    "sample": "sampling",
    "label": "waiting for labels",
    "train_embedding": "embedding",
    "improve": "update",
    "enter": "between phases",
}


@pytest.fixture(scope="module")
def stopped_in(processes: Callable[[str], Process]) -> Callable[[int], str]:
    """Stops the run at this question and resumes it, once; returns the place where it stopped.

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


def test_these_are_all_the_instants(processes: Callable[[str], Process], update: str) -> None:
    assert processes(update).questions == QUESTIONS


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
    (Path, "unlink", 3),  # one of the two microbatches of round 1
    (Journal, "finish_round", 1),
    (Journal, "finish_round", 2),
]


@pytest.mark.parametrize(("owner", "write", "nth"), WRITES)
def test_a_crash_after_any_write_changes_nothing(
    processes: Callable[[str], Process], owner: Any, write: str, nth: int
) -> None:
    process = processes("ddpo")
    assert_same(process, process.crash_after(owner, write, nth))


def test_a_crash_while_a_round_is_reported_changes_nothing(
    processes: Callable[[str], Process], update: str
) -> None:
    def tell(event: Event) -> None:
        if isinstance(event, RoundFinished):
            raise Crash

    process = processes(update)
    for _ in range(2):
        with pytest.raises(Crash):
            process.run("told", emit=tell)
    process.run("told")
    assert_same(process, "told")


def test_only_missing_pictures_are_made_again(make_run: Callable[..., RunDir]) -> None:
    folder, script = make_run(update="forward", rounds=1), Script(*LINES)

    def stop(event: Event) -> None:
        if isinstance(event, ImagesReady):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(folder, script, emit=stop)
    first = folder.picture_path(0, 0)
    before, events = first.stat().st_mtime_ns, list[Event]()
    go(folder, script, emit=events.append)
    assert first.stat().st_mtime_ns == before
    ready = [event.indices for event in events if isinstance(event, ImagesReady)]
    assert ready == [(0, 1, 2), (3, 4, 5)]  # who has just come is told of the old ones too
    progress = [event for event in events if isinstance(event, Progress)]
    assert min(event.done for event in progress if event.step == "sample") >= 3


def test_pictures_are_durable_before_they_can_be_labelled(
    make_run: Callable[..., RunDir], update: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When they are told of, their files were flushed, and the journal has them."""
    folder, flushed, told = make_run(update=update, rounds=1), list[str](), list[int]()
    real = os.fsync

    def flush(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    def tell(event: Event) -> None:
        if isinstance(event, ImagesReady):
            told.extend(event.indices)
            part = folder.path / f"rounds/r000/part-{event.indices[0]:05}.safetensors"
            assert {f"{path}.tmp" for path in (*event.paths, part)} <= set(flushed)
            assert {str(part.parent), str(part.parents[1])} <= set(flushed)  # the renames
            with Journal.reading(folder.journal_path) as journal:
                assert set(event.indices) <= journal.images(0).keys()
                assert journal.history(0) == []

    monkeypatch.setattr(os, "fsync", flush)
    go(folder, Script(*LINES), emit=tell)
    assert told == list(range(6))


def test_a_round_that_has_begun_is_finished_regardless_of_the_budget(
    make_run: Callable[..., RunDir],
) -> None:
    folder = make_run(update="forward", labels=5)

    def stop(event: Event) -> None:
        if event == PhaseStarted(1, "labelling"):
            raise StopRequested

    with pytest.raises(StopRequested):
        go(folder, Script(*LINES), emit=stop, more_rounds=2)
    _, finished = go(folder, Script(*LINES))
    assert (finished.rounds, finished.labels, finished.reason) == (2, 11, "budget")


def test_the_disk_has_what_was_learned(make_run: Callable[..., RunDir], update: str) -> None:
    folder = make_run(update=update)
    state, _ = go(folder, Script(*LINES))
    trainer, again = trained(folder, "cpu")
    assert (again.round, again.labels_used) == (state.round, state.labels_used) == (2, 11)
    found = folder.load_checkpoint()
    assert found is not None
    for parts in (again.parts(), found[0]):
        for part, tensors in state.parts().items():
            assert parts[part].keys() == tensors.keys()
            assert all(torch.equal(parts[part][name], each) for name, each in tensors.items())
    assert len(state.optimizer) == 3 * len(trainer.model.lora_parameters())


def test_nothing_is_drawn_from_a_generator_that_would_have_to_be_kept(
    make_run: Callable[..., RunDir], update: str
) -> None:
    """Those of torch, numpy and Python stand where they stood."""
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    go(make_run(update=update), Script(*LINES))
    assert (random.getstate(), str(np.random.get_state())) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
