"""Updates on pictures that nobody labels: their numbers, their chances, and interruptions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import Process, assert_same
from refusals import refused
from tiny_runs import LINES, PLUS, left_behind, new_run, played, tiny_settings

from hero_engine.config.settings import (
    EmbeddingSettings,
    ForwardSettings,
    RewardSettings,
    SelfTrainingSettings,
    Settings,
)
from hero_engine.core.batch import Batch
from hero_engine.core.errors import ExitCode, StopRequested
from hero_engine.core.labels import Labels
from hero_engine.core.rng import generator
from hero_engine.policy.sampler import sample
from hero_engine.training.self_training import mean_chance, unlabelled_experience
from hero_engine.training.state import Learner
from hero_engine.updates import Experience, Memory
from hero_engine.updates.ddpo import Policy
from hero_engine.updates.forward import ForwardUpdate


def plus(folder: Path, update: str, **changes: Any) -> Settings:
    return tiny_settings(folder, **{"update": update} | PLUS | changes)


def opened(folder: Path, update: str) -> Learner:
    """A learner that knows six pictures."""
    learner = Learner.open(plus(folder, update), "cpu")
    latents = torch.randn(6, *learner.model.latent_shape, generator=generator(0, "init", 0, 0))
    batch = Batch(torch.zeros_like(latents), latents)
    learner.remember(batch, Labels((True, False, True, False, False, True), best=0))
    return learner


def drawn(learner: Learner, turn: int, at_once: int = 3) -> Experience:
    nothing = Batch(torch.zeros(0, 4, 8, 8), torch.zeros(0, 4, 8, 8))
    chance = learner.chance_of_good(nothing, Labels(()))
    assert chance is not None
    return unlabelled_experience(learner, chance, 1, turn, at_once, lambda done: None)


def test_they_are_the_rounds_further_pictures(square_folder: Path, update: str) -> None:
    """Picture by picture what `sample` makes of that number's own noise; 4 a turn, after 6."""
    learner = opened(square_folder, update)
    for turn, first in ((1, 6), (2, 10)):
        got = drawn(learner, turn)
        assert got.turn == turn and got.labels.labelled == 0
        for at in range(4):
            random = generator(5, "noise", 1, first + at)
            noise = torch.randn(1, 4, 8, 8, generator=random)
            alone = sample(
                learner.model, "a", noise, learner.settings.sampler,
                seed=5, round=1, first_index=first + at,
            )  # fmt: skip
            assert torch.equal(got.batch.noises_B_C_H_W[at], noise[0])
            assert torch.allclose(
                got.batch.latents_B_C_H_W[at], alone.latents_B_C_H_W[0], atol=1e-4
            )
        other = drawn(learner, turn, at_once=4)
        assert torch.allclose(got.batch.latents_B_C_H_W, other.batch.latents_B_C_H_W, atol=1e-4)


def test_their_chances_are_the_heads(square_folder: Path) -> None:
    learner = opened(square_folder, "forward")
    got = drawn(learner, 1)
    nothing = Batch(torch.zeros(0, 4, 8, 8), torch.zeros(0, 4, 8, 8))
    chance = learner.chance_of_good(nothing, Labels(()))
    assert chance is not None and learner.network_features is not None
    want = chance(learner.network_features(got.batch.latents_B_C_H_W))
    assert got.chances_B is not None and got.rewards_B is not None
    assert torch.allclose(got.chances_B.double(), want, atol=1e-4)
    assert torch.equal(got.rewards_B, got.chances_B)
    assert mean_chance(got) == pytest.approx(float(want.mean()), abs=1e-4)


def test_the_policy_gradient_gets_the_steps_it_trains(square_folder: Path) -> None:
    learner = opened(square_folder, "ddpo")
    got = drawn(learner, 1).batch
    assert got.trajectory is not None and got.trajectory.log_probs_B_S.shape == (4, 2)
    policy = Policy(learner.model, learner.settings.sampler, "a")
    with torch.no_grad():
        now = policy.log_probs(got.trajectory)
    assert torch.allclose(now, got.trajectory.log_probs_B_S, atol=1e-4)


def test_drawn_as_good_in_proportion_to_the_chance(line_model: Callable[..., Any]) -> None:
    """Known numbers as latents: counted among the goods and among the bads of a large step."""
    values = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    chances = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    latents = values.view(-1, 1, 1, 1)
    batch = Batch(torch.zeros_like(latents), latents)
    nothing = Memory(latents[:0], torch.zeros(0, dtype=torch.bool))
    given = Experience(batch, Labels((None,) * 3), chances, "a", 0, 0, nothing, chances, 1)
    settings = ForwardSettings(steps=1, good_images_per_update=4000, bad_images_per_update=4000)
    update = ForwardUpdate(settings, line_model(0.0, 0.0))
    rows = update._draw(update._pool(given), given, 0)
    clean = rows.clean.flatten()
    for side, weights in ((rows.good, chances), (~rows.good, 1 - chances)):
        got = [float((clean[side] == value).double().mean()) for value in values]
        assert got == pytest.approx((weights / weights.sum()).tolist(), abs=0.03)
    assert update.signal(given) == ""
    metrics = update.step(given)
    assert (metrics["goods"], metrics["bads"]) == pytest.approx((1.5, 1.5))
    other = update._draw(update._pool(given), replace(given, turn=2), 0)
    assert not torch.equal(other.clean, rows.clean)


def test_a_round_learns_from_them(square_folder: Path, tmp_path: Path, update: str) -> None:
    settings = plus(square_folder, update)
    with_them = new_run(tmp_path / "with", settings)
    reports, _ = played(with_them, *LINES)
    assert all("unlabelled_chance" in each.metrics for each in reports)
    without = new_run(tmp_path / "without", replace(settings, self_training=SelfTrainingSettings()))
    played(without, *LINES)
    assert left_behind(without) != left_behind(with_them)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], update: str, part: float
) -> None:
    process, name = processes(f"{update} plus"), f"stop-{part}"
    with pytest.raises(StopRequested):
        process.run(name, round(part * process.questions))
    process.run(name)
    assert_same(process, name)


def test_a_round_without_goods_trains_on_nothing(square_folder: Path, tmp_path: Path) -> None:
    reports, _ = played(new_run(tmp_path / "run", plus(square_folder, "forward")), "bbbbbb")
    assert not reports[0].updated and "unlabelled_chance" not in reports[0].metrics


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reward": RewardSettings()}, "embedding.kind 'backbone'"),
        ({"update": "sft"}, "self_training.rounds needs"),
        (
            {"embedding": EmbeddingSettings(), "reward": RewardSettings()},
            "self_training.rounds needs",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], says: str) -> None:
    with refused(ExitCode.USAGE, start=says):
        plus(Path("x"), **{"update": "forward"} | changes)
