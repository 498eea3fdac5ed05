"""A round's order from end to end on a tiny pipeline, and when a run has had its rounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import LINES, Script, go, latents, left_behind

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.events import (
    Event,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
)
from hero_engine.labelling.annotators import read_pictures
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir


@pytest.mark.parametrize("update", ["ddpo", "forward", "d3po", "sft"])
def test_a_run_end_to_end(make_run: Callable[..., RunDir], update: str) -> None:
    folder, events = make_run(update=update), list[Event]()
    _, finished = go(folder, Script(*LINES), emit=events.append)
    assert finished == Finished(str(folder.path), 2, 11, "budget")

    told = [event for event in events if not isinstance(event, Progress)]
    assert [type(event) for event in told] == [
        PhaseStarted,
        *[ImagesReady] * 2,
        *[PhaseStarted] * 2,
        RoundFinished,
    ] * 2
    phases = [(event.round, event.phase) for event in told if isinstance(event, PhaseStarted)]
    assert phases == [(r, p) for r in (0, 1) for p in ("sampling", "labelling", "training")]
    ready = [event for event in told if isinstance(event, ImagesReady)]
    assert [event.indices for event in ready] == [(0, 1, 2), (3, 4, 5)] * 2
    assert all(Path(path).is_file() for event in ready for path in event.paths)
    first, second = (event for event in told if isinstance(event, RoundFinished))
    assert (first.labels, first.good, first.unlabelled, first.labels_total) == (5, 3, 1, 5)
    assert (second.labels, second.good, second.unlabelled, second.labels_total) == (6, 2, 0, 11)
    assert first.updated and second.updated
    assert first.note == "1 unlabelled pictures were skipped" and second.note == ""
    assert (first.metrics["guided"], second.metrics["guided"]) == (0, 1)
    assert set(first.seconds) == {"sample", "embed", "update"}
    steps = [(event.step, event.done, event.total) for event in events if type(event) is Progress]
    assert {("sample", 6, 6), ("embed", 2, 2), ("update", 2, 2)} <= set(steps)

    kept = {path for path in left_behind(folder) if not path.startswith("checkpoints")}
    assert kept == {
        f"{path}" for r in (0, 1) for path in (f"rounds/r00{r}/latents.safetensors",)
    } | {f"images/r00{r}/00{image}.png" for r in (0, 1) for image in range(6)}
    assert latents(folder, 0).keys() == {"noises_B_C_H_W", "latents_B_C_H_W"}
    with Journal(folder.journal_path) as journal:
        assert journal.current() == (1, "done")
        assert [row["labels_total"] for row in journal.metrics()] == [5, 11]
    go(folder, Script(), emit=events.append)  # the budget is used: nothing more happens
    assert len([event for event in events if isinstance(event, RoundFinished)]) == 2


def test_the_round_in_which_the_budget_ends_is_finished(make_run: Callable[..., RunDir]) -> None:
    _, finished = go(make_run(update="forward", labels=7), Script("*gbbbb"))
    assert (finished.rounds, finished.labels, finished.reason) == (2, 12, "budget")


def test_rounds_go_before_the_budget_and_more_rounds_before_both(
    make_run: Callable[..., RunDir],
) -> None:
    folder = make_run(update="forward", labels=1, rounds=2)
    _, finished = go(folder, Script("*gbbbb"))
    assert (finished.rounds, finished.reason) == (2, "rounds")
    _, finished = go(folder, Script("*gbbbb"), more_rounds=1)
    assert (finished.rounds, finished.reason) == (3, "rounds")


def test_guided_pictures_are_sampled_between_fresh_ones(make_run: Callable[..., RunDir]) -> None:
    """In the order of the app's pages, and each is the picture that any other order gives."""
    noise = NoiseSettings(fresh_ratio=0.5)
    mixed, whole = (
        make_run(name, update="sft", rounds=2, microbatch=size, noise=noise)
        for name, size in (("mixed", 1), ("whole", 6))
    )
    ready = list[ImagesReady]()
    go(mixed, Script(*LINES), emit=lambda each: _keep(each, ready))
    go(whole, Script(*LINES))
    assert [event.indices for event in ready if event.round == 0] == [(i,) for i in range(6)]
    assert [event.indices for event in ready if event.round == 1] == [
        (i,) for i in (3, 0, 2, 4, 1, 5)
    ]
    noises = [latents(run, 1)["noises_B_C_H_W"] for run in (mixed, whole)]
    assert torch.equal(noises[0][3:], noises[1][3:])
    assert torch.allclose(*noises, atol=1e-5)


def _keep(event: Event, kept: list[ImagesReady]) -> None:
    if isinstance(event, ImagesReady):
        kept.append(event)


@pytest.mark.parametrize("microbatch", [2, 4, 6])
def test_microbatches_change_no_picture(make_run: Callable[..., RunDir], microbatch: int) -> None:
    """Rounding may: sums of other shapes differ in their last bits."""
    three, other = make_run("three", rounds=1), make_run("other", rounds=1, microbatch=microbatch)
    go(three, Script(*LINES))
    go(other, Script(*LINES))
    for image in range(6):
        pixels = [read_pictures({0: run.picture_path(0, image)}) for run in (three, other)]
        assert np.abs(np.subtract(*pixels, dtype=int)).max() <= 1
    one, two = latents(three, 0), latents(other, 0)
    assert torch.equal(one["noises_B_C_H_W"], two["noises_B_C_H_W"])
    assert torch.allclose(one["latents_B_C_H_W"], two["latents_B_C_H_W"], atol=1e-5)
