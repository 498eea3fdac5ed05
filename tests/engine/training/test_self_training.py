"""Self-training: which pictures it samples, their pseudo-labels, interruptions."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import Process, assert_same
from refusals import refused
from students import Student, numbers_as_latents
from tiny_runs import JOINT, LINES, PLUS, left_behind, new_run, played, tiny_settings

from hero_engine.config.settings import (
    EmbeddingSettings,
    RewardSettings,
    SelfTrainingSettings,
    Settings,
)
from hero_engine.config.update_settings import ForwardSettings
from hero_engine.core.batch import Batch
from hero_engine.core.collective import Microbatches
from hero_engine.core.errors import ExitCode, StopRequested
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.core.rng import generator, normal_each
from hero_engine.policy.sampler import SampleRequest, sample
from hero_engine.reward.logistic_head import BayesianLogisticHead
from hero_engine.reward.reward_model import Evidence, PredictProbability
from hero_engine.training.self_training import pseudo_labelled
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer
from hero_engine.updates import Feedback, NoSignal, PseudoLabelled, UpdateId
from hero_engine.updates.ddpo import RewardedTrajectories
from hero_engine.updates.denoising_policy import DenoisingPolicy
from hero_engine.updates.forward import ForwardUpdate
from hero_engine.updates.label_pool import Pool


def plus(folder: Path, update: str, **changes: Any) -> Settings:
    return tiny_settings(folder, **{"update": update} | PLUS | changes)


def opened(folder: Path, update: str) -> tuple[Trainer, State]:
    """A trainer, and a state that knows six pictures."""
    trainer = Trainer.open(plus(folder, update), "cpu")
    latents = torch.randn(6, *trainer.model.latent_shape, generator=generator(0, "init", 0, 0))
    labels = Labels((True, False, True, False, False, True), bests=(0,))
    round = LabelledRound(0, Batch(torch.zeros_like(latents), latents), labels)
    return trainer, trainer.initial_state().with_labels(round)


def predictor(trainer: Trainer, state: State) -> PredictProbability:
    predict = trainer.reward_model.probability(state.embedding, Evidence(state.memory, state.bests))
    assert predict is not None
    return predict


def drawn(trainer: Trainer, state: State, number: int, microbatch: int = 3) -> PseudoLabelled:
    update_id = UpdateId(trainer.settings.seed, 1, number)
    return pseudo_labelled(trainer, state, update_id, predictor(trainer, state), microbatch)


def test_they_are_the_rounds_further_pictures(square_folder: Path, update: str) -> None:
    """Picture by picture what `sample` makes of that number's own noise; 4 a turn, after 6."""
    trainer, state = opened(square_folder, update)
    for number, first in ((1, 6), (2, 10)):
        got = drawn(trainer, state, number)
        for at in range(4):
            random = generator(5, "noise", 1, first + at)
            noise = torch.randn(1, 4, 8, 8, generator=random)
            request = SampleRequest(5, 1, [first + at], noise)
            alone = sample(trainer.model, "a", trainer.settings.sampler, request)
            assert torch.equal(got.batch.noises_B_C_H_W[at], noise[0])
            assert torch.allclose(
                got.batch.latents_B_C_H_W[at], alone.latents_B_C_H_W[0], atol=1e-4
            )
        other = drawn(trainer, state, number, microbatch=4)
        assert torch.allclose(got.batch.latents_B_C_H_W, other.batch.latents_B_C_H_W, atol=1e-4)


def test_their_probabilities_are_the_heads(square_folder: Path) -> None:
    trainer, state = opened(square_folder, "forward")
    got, backbone = drawn(trainer, state, 1), trainer.reward_model.backbone
    assert backbone is not None
    known = backbone(state.memory.latents_N_C_H_W)
    head = BayesianLogisticHead.fit(known, state.memory.good_N, standardise=True)
    want = head(backbone(got.batch.latents_B_C_H_W))
    assert torch.allclose(got.probability_B.double(), want, atol=1e-4)


def test_the_policy_gradient_gets_the_steps_it_trains(square_folder: Path) -> None:
    trainer, state = opened(square_folder, "ddpo")
    got = drawn(trainer, state, 1).batch
    assert got.trajectory is not None and got.trajectory.log_probs_B_S.shape == (4, 2)
    policy = DenoisingPolicy(trainer.model, trainer.settings.sampler, "a")
    with torch.no_grad():
        now = policy.log_probs(got.trajectory)
    assert torch.allclose(now, got.trajectory.log_probs_B_S, atol=1e-4)


def test_pseudo_labels_are_the_policy_gradients_rewards(square_folder: Path) -> None:
    trainer, state = opened(square_folder, "ddpo")
    images = drawn(trainer, state, 1)
    lesson = trainer.update.pseudo_lesson(images)
    assert isinstance(lesson, RewardedTrajectories)
    assert torch.equal(lesson.rewards_B, images.probability_B)


def test_drawn_as_good_in_proportion_to_the_probability(line_model: Callable[..., Any]) -> None:
    """Known numbers as latents: counted among the goods and among the bads of a large step."""
    values = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    probabilities = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    given = PseudoLabelled(numbers_as_latents(values.view(-1, 1, 1, 1)), probabilities)
    settings = ForwardSettings(steps=1, good_images_per_update=4000, bad_images_per_update=4000)
    update = ForwardUpdate(settings, line_model(0.0, 0.0), "a")
    pool = update.pseudo_lesson(given)
    assert isinstance(pool, Pool)
    rows = update.row_sampler.draw(pool, UpdateId(0, 0, 1), 1)
    clean = rows.clean.flatten()
    for side, weights in ((rows.good_R, probabilities), (~rows.good_R, 1 - probabilities)):
        got = [float((clean[side] == value).double().mean()) for value in values]
        assert got == pytest.approx((weights / weights.sum()).tolist(), abs=0.03)
    metrics = Student(update).learn(given)
    assert (metrics["goods"], metrics["bads"]) == pytest.approx((1.5, 1.5))
    one, two = (
        update.objective(pool, UpdateId(0, 0, number), Microbatches(8000)).rows(0)
        for number in (1, 2)
    )
    assert not torch.equal(one.clean, two.clean)


def test_a_round_learns_from_them(square_folder: Path, tmp_path: Path, update: str) -> None:
    settings = plus(square_folder, update)
    with_them = new_run(tmp_path / "with", settings)
    reports, _ = played(with_them, *LINES)
    assert all("pseudo_label_mean" in each.metrics for each in reports)
    without = new_run(tmp_path / "without", replace(settings, self_training=SelfTrainingSettings()))
    played(without, *LINES)
    assert left_behind(without) != left_behind(with_them)


@pytest.mark.parametrize(
    ("update", "part"),
    [("ddpo", 0.3), ("forward", 0.5), ("ddpo", 0.7), ("forward", 0.9), ("ddpo", 1.0)],
)
def test_a_stop_at_any_instant_changes_nothing(
    processes: Callable[[str], Process], update: str, part: float
) -> None:
    process, name = processes(f"{update} plus"), f"stop-{part}"
    with pytest.raises(StopRequested):
        process.run(name, round(part * process.questions))
    process.run(name)
    assert_same(process, name)


@pytest.mark.parametrize("part", [0.4, 0.8])
def test_a_stop_in_joint_self_training_changes_nothing(
    processes: Callable[[str], Process], part: float
) -> None:
    process, name = processes("forward joint"), f"stop-{part}"
    with pytest.raises(StopRequested):
        process.run(name, round(part * process.questions))
    process.run(name)
    assert_same(process, name)


def test_joint_self_training_learns_from_base_and_policy(
    square_folder: Path, tmp_path: Path
) -> None:
    """Labels: 5, then 11; the base's 6 images in every update, and 4 new ones of the policy in all
    but the first. The base's are those that a model without LoRA makes of their own noises."""
    lessons: list[Pool] = []

    class Kept(ForwardUpdate):
        def lesson(self, feedback: Feedback) -> Pool | NoSignal:
            lesson = super().lesson(feedback)
            assert isinstance(lesson, Pool)
            lessons.append(lesson)
            return lesson

    settings = tiny_settings(square_folder, **{"update": "forward"} | JOINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hero_engine.updates.forward.ForwardUpdate", Kept)
        played(new_run(tmp_path / "run", settings), *LINES)
    assert [len(lesson) for lesson in lessons] == [5 + 6, 5 + 6 + 4, 11 + 6 + 4, 11 + 6 + 4]
    labels = (5, 5, 11, 11)
    latents = [lesson.latents_N_C_H_W for lesson in lessons]
    of_base = [each[known : known + 6] for known, each in zip(labels, latents, strict=True)]
    assert all(torch.equal(of_base[0], each) for each in of_base[1:])
    of_policy = [each[-4:] for each in latents[1:]]
    assert not any(torch.allclose(*pair) for pair in combinations(of_policy, 2))
    trainer = Trainer.open(settings, "cpu")
    noises = normal_each([generator(5, "base", 0, image) for image in range(6)], (4, 8, 8))
    request = SampleRequest(5, 0, range(6), noises, purpose="base")
    with trainer.model.base():
        alone = sample(trainer.model, "a", settings.sampler, request)
    assert torch.allclose(of_base[0], alone.latents_B_C_H_W, atol=1e-4)


def test_a_round_without_goods_trains_on_nothing(square_folder: Path, tmp_path: Path) -> None:
    reports, _ = played(new_run(tmp_path / "run", plus(square_folder, "forward")), "bbbbbb")
    assert not reports[0].updated and "pseudo_label_mean" not in reports[0].metrics


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reward": RewardSettings()}, "reward.kind 'best' needs a trained embedding"),
        ({"update": "sft"}, "self_training.rounds needs"),
        (
            {"update": "ddpo", "self_training": SelfTrainingSettings(kind="joint")},
            "self_training.kind 'joint' needs",
        ),
        (
            {"embedding": EmbeddingSettings(), "reward": RewardSettings()},
            "self_training.rounds needs",
        ),
    ],
)
def test_conflicting_settings_are_refused(changes: dict[str, Any], says: str) -> None:
    with refused(ExitCode.USAGE, start=says):
        plus(Path("x"), **{"update": "forward"} | changes)
