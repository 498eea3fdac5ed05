"""Rounds that are drawn ahead: in which order, by which weights, how many, and after what befalls.

`source_of` says it a second time: round k comes from what was learned of the rounds before k - 1.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from interrupted import AHEAD, AHEAD_QUESTIONS, Process, assert_same
from tiny_runs import LINES, UPDATES, Script, go, latents

from hero_engine.errors import StopRequested
from hero_engine.files import read_tensors
from hero_engine.learner import Learner
from hero_engine.protocol import Event, PhaseStarted, RoundFinished
from hero_engine.records import Batch
from hero_engine.rundir import RunDir
from hero_engine.sampler import sample
from hero_engine.updates.ddpo import Policy

KINDS = tuple(f"{update} ahead" for update in UPDATES)


def phases(events: list[Event]) -> list[tuple[int, str]]:
    return [
        (each.round, each.phase if isinstance(each, PhaseStarted) else "done")
        for each in events
        if isinstance(each, PhaseStarted | RoundFinished)
    ]


def test_the_order(make_run: Callable[..., RunDir], update: str) -> None:
    """The next round is drawn while this one is labelled, and before it is learned from."""
    folder, events = make_run(update=update, **AHEAD), list[Event]()
    _, finished = go(folder, Script(*LINES), tell=events.append)
    assert (finished.rounds, finished.labels) == (3, 17)
    assert phases(events) == [
        *((0, "sampling"), (0, "labelling")),
        *((1, "sampling"), (1, "labelling"), (0, "training"), (0, "done")),
        (1, "labelling"),
        *((2, "sampling"), (2, "labelling"), (1, "training"), (1, "done")),
        *((2, "labelling"), (2, "training"), (2, "done")),
    ]
    behind = [each.metrics["behind"] for each in events if isinstance(each, RoundFinished)]
    guided = [each.metrics["guided"] for each in events if isinstance(each, RoundFinished)]
    assert behind == [0, 1, 1] and guided == [0, 0, 1]


def test_a_round_comes_from_what_was_known_one_round_earlier(
    make_run: Callable[..., RunDir], update: str
) -> None:
    """Made again, by hand, with the weights and noises of the checkpoint before."""
    folder = make_run(update=update, **AHEAD)
    go(folder, Script(*LINES))
    settings = folder.settings
    for round in range(3):
        learner = Learner.open(settings, "cpu")
        if round > 1:
            learner.restore(folder.checkpoints.load(round - 1)[0])
        noises = learner.prior.draw(6, (4, 8, 8), settings.noise, settings.seed, round)
        found = latents(folder, round)
        assert torch.equal(found["noises_B_C_H_W"], noises)
        again = [
            sample(
                learner.model,
                settings.prompt,
                noises[first : first + 3],
                settings.sampler,
                seed=settings.seed,
                round=round,
                first_index=first,
            )
            for first in (0, 3)
        ]
        assert torch.equal(found["latents_B_C_H_W"], Batch.cat(again).latents_B_C_H_W)


def test_the_ratio_is_measured_against_the_weights_that_drew(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step of round 1: p(step | W_1) / p(step | W_0), worked out apart."""
    folder = make_run(update="ddpo", **AHEAD)
    parts: dict[int, dict[str, torch.Tensor]] = {}
    real = RunDir.condense

    def keep(self: RunDir, round: int, tensors: Any) -> None:
        files = sorted((self.path / "rounds" / f"r{round:03}").glob("part-*"))
        whole = Batch.cat(Batch.from_tensors(read_tensors(file)) for file in files)
        parts[round] = whole.tensors()
        real(self, round, tensors)

    monkeypatch.setattr(RunDir, "condense", keep)
    events = list[Event]()
    go(folder, Script(*LINES), tell=events.append)
    report = next(e for e in events if isinstance(e, RoundFinished) and e.round == 1)

    trajectory = Batch.from_tensors(parts[1]).trajectory
    assert trajectory is not None
    learner = Learner.open(folder.settings, "cpu")
    policy = Policy(learner.model, folder.settings.sampler, folder.settings.prompt)
    with torch.no_grad():
        when_drawn = policy.log_probs(trajectory)
        learner.restore(folder.checkpoints.load(1)[0])
        at_update = policy.log_probs(trajectory)
    assert torch.allclose(trajectory.log_probs_B_S, when_drawn, atol=1e-5)
    ratio = (at_update.double() - when_drawn.double()).exp()
    order = torch.randperm(6, generator=learner_order(folder.settings.seed))[:3]
    error = float((ratio[order] - 1).abs().max())
    assert error > 1e-4
    assert report.metrics["first_ratio_error"] == pytest.approx(error, rel=0.02)


def learner_order(seed: int) -> torch.Generator:
    from hero_engine.seeds import generator

    return generator(seed, "update", 1, 0)


@pytest.mark.parametrize("stop_at", range(1, AHEAD_QUESTIONS + 1))
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], stop_at: int
) -> None:
    process, name = processes(KINDS[stop_at % 2]), f"stop-{stop_at}"
    with pytest.raises(StopRequested):
        process.run(name, stop_at)
    process.run(name)
    assert_same(process, name)
