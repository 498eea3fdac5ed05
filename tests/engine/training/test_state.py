"""The state that one round hands to the next, and the reward model on it, without the loop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import first_lesson, tiny_settings

from hero_engine.config.settings import RewardSettings
from hero_engine.core.batch import Batch
from hero_engine.core.errors import HeroError
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.policy.noise_prior import GroupPriors
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.reward.reward_model import Evidence
from hero_engine.storage.run_folder import Parts
from hero_engine.training.round_report import auc_of_labelled
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer

ODD = Labels((True, None, False, True, True, False), bests=(3,))


@pytest.fixture
def make(square_folder: Path) -> Callable[..., Trainer]:
    """New trainers."""
    return lambda **changes: Trainer.open(tiny_settings(square_folder, **changes), "cpu")


def pictures(number: int, count: int = 6) -> Batch:
    """Random noises and latents."""
    random = torch.Generator().manual_seed(number)
    noises, latents = torch.randn(2, count, 4, 8, 8, generator=random)
    return Batch(noises, latents)


def silent(done: int, total: int) -> None:
    pass


def after(trainer: Trainer, *rounds: LabelledRound) -> State:
    """The initial state with these rounds' labels."""
    state = trainer.initial_state()
    for round in rounds:
        state = state.with_labels(round)
    return state


def triplets_of(trainer: Trainer, round: LabelledRound, state: State) -> Any:
    evidence = trainer.reward_model.evidence(round, state.memory, state.bests)
    found = trainer.reward_model.triplets(evidence)
    return found[0] if found else None


def rewards_of(trainer: Trainer, round: LabelledRound, state: State) -> torch.Tensor | None:
    evidence = trainer.reward_model.evidence(round, state.memory, state.bests)
    return trainer.reward_model.rewards(state.embedding, evidence, round)


def predicted(trainer: Trainer, batch: Batch, state: State) -> torch.Tensor | None:
    evidence = Evidence(state.memory, state.bests)
    return trainer.reward_model.predicted_rewards(state.embedding, evidence, batch)


def test_memory_grows_by_what_is_labelled(make: Callable[..., Trainer]) -> None:
    first = LabelledRound(0, pictures(0), ODD)
    second = LabelledRound(1, pictures(1), Labels((None, False, None, None, True, None)))
    start = make().initial_state()
    state = start.with_labels(first).with_labels(second)
    assert state.memory.good_N.tolist() == [True, False, True, True, False, False, True]
    want = [first.batch.latents_B_C_H_W[[0, 2, 3, 4, 5]], second.batch.latents_B_C_H_W[[1, 4]]]
    assert torch.equal(state.memory.latents_N_C_H_W, torch.cat(want))
    assert state.labels_used == 7
    assert [*state.bests] == [0]
    assert torch.equal(state.bests[0].latent_C_H_W, first.batch.latents_B_C_H_W[3])
    assert torch.equal(state.bests[0].noise_C_H_W, first.batch.noises_B_C_H_W[3])
    assert (len(start.memory), start.bests, start.labels_used) == (0, {}, 0)


def test_the_next_round_draws_around_best_and_this_rounds_goods(
    make: Callable[..., Trainer],
) -> None:
    first = LabelledRound(0, pictures(0), ODD)
    state = after(make(), first)
    assert state.priors.of(0).goods_N_C_H_W is None  # not before the round is learned from
    behaviour = PolicySnapshot({}, GroupPriors())
    following = state.next_round(first, behaviour)
    assert (following.round, following.staleness, state.staleness) == (1, 1, 0)
    assert following.sampling_policy is behaviour
    noises = first.batch.noises_B_C_H_W
    assert (
        following.priors.of(0).best_C_H_W is not None
        and following.priors.of(0).goods_N_C_H_W is not None
    )
    assert torch.equal(following.priors.of(0).best_C_H_W, noises[3])
    assert torch.equal(following.priors.of(0).goods_N_C_H_W, noises[[0, 4]])


def test_the_triplets_leave_best_out(make: Callable[..., Trainer]) -> None:
    trainer, first, second = make(), pictures(0), pictures(1)
    round = LabelledRound(0, first, ODD)
    assert triplets_of(trainer, round, trainer.initial_state()) is None  # there is no best yet
    state = after(trainer, round)
    triplets = triplets_of(trainer, round, state)
    assert torch.equal(triplets.best_C_H_W, first.latents_B_C_H_W[3])
    assert torch.equal(triplets.positives_N_C_H_W, first.latents_B_C_H_W[[0, 4]])
    assert torch.equal(triplets.negatives_M_C_H_W, first.latents_B_C_H_W[[2, 5]])
    # Best is of an earlier round: all of this round's goods are positives.
    later = LabelledRound(1, second, Labels((True, False, None, None, None, None)))
    triplets = triplets_of(trainer, later, state)
    assert torch.equal(triplets.positives_N_C_H_W, second.latents_B_C_H_W[:1])
    for one_sided in ((True,) * 6, (False,) * 6, (None,) * 6):
        assert triplets_of(trainer, LabelledRound(1, second, Labels(one_sided)), state) is None
    only_best = LabelledRound(0, first, Labels((False, None, None, True, None, None), (3,)))
    assert triplets_of(trainer, only_best, state) is None


def test_triplets_of_all_rounds(make: Callable[..., Trainer]) -> None:
    """A best that was replaced is a positive like others."""
    trainer = make(embedding=replace(make().settings.embedding, history="all"))
    first, second = pictures(0), pictures(1)
    better = LabelledRound(1, second, Labels((None, None, None, None, None, True), bests=(5,)))
    state = after(trainer, LabelledRound(0, first, ODD), better)
    triplets = triplets_of(trainer, better, state)
    assert torch.equal(triplets.positives_N_C_H_W, first.latents_B_C_H_W[[0, 3, 4]])
    assert torch.equal(triplets.negatives_M_C_H_W, first.latents_B_C_H_W[[2, 5]])


def similarities(trainer: Trainer, batch: Batch, references: torch.Tensor) -> Any:
    """(cos + 1) / 2 of the features, by numpy: (pictures, references)."""
    with torch.no_grad():
        ours, theirs = (
            trainer.reward_model.embedding(each).numpy().astype(float)
            for each in (batch.latents_B_C_H_W, references)
        )
    lengths = np.outer(np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1))
    return (ours @ theirs.T / lengths + 1) / 2


def test_probabilities_are_rewards_of_all_pictures_and_need_no_best(
    make: Callable[..., Trainer],
) -> None:
    """The goods' are higher; an unlabelled picture has one too."""
    batch, trainer = pictures(0), make(reward=RewardSettings("probability"))
    nothing = LabelledRound(0, batch, Labels((None,) * 6))
    assert rewards_of(trainer, nothing, after(trainer, nothing)) is None
    round = LabelledRound(0, batch, Labels((True, None, False, True, True, False)))
    rewards = rewards_of(trainer, round, after(trainer, round))
    assert rewards is not None and rewards.shape == (6,)
    assert bool(((rewards > 0) & (rewards < 1)).all())
    assert float(rewards[[0, 3, 4]].mean()) > float(rewards[[2, 5]].mean())


def test_rewards(make: Callable[..., Trainer]) -> None:
    batch = pictures(0)
    nothing, odd = LabelledRound(0, batch, Labels((False,) * 6)), LabelledRound(0, batch, ODD)
    for kind in ("best", "positives"):
        trainer = make(reward=RewardSettings(kind))
        assert rewards_of(trainer, nothing, trainer.initial_state()) is None
        state = after(trainer, odd)
        to_best = similarities(trainer, batch, batch.latents_B_C_H_W[[3]])[:, 0]
        to_goods = similarities(trainer, batch, batch.latents_B_C_H_W[[0, 3, 4]]).mean(1)
        got = rewards_of(trainer, odd, state)
        assert got is not None and np.ptp(to_best) > 1e-3
        assert got.numpy() == pytest.approx(to_best if kind == "best" else to_goods, abs=1e-6)
        alone = rewards_of(trainer, nothing, state)  # without goods: best is what is left
        assert alone is not None and alone.numpy() == pytest.approx(to_best, abs=1e-6)
    trainer = make(reward=RewardSettings("labels"))
    rewards = rewards_of(trainer, odd, trainer.initial_state())
    assert rewards is not None
    assert np.array_equal(rewards.numpy(), [1, np.nan, 0, 1, 1, 0], equal_nan=True)


def test_predictions_know_nothing_of_the_pictures_labels(make: Callable[..., Trainer]) -> None:
    """Similarity to the best so far, or probabilities by the labels so far; None before any."""
    first, second = LabelledRound(0, pictures(0), ODD), pictures(1)
    for kind in ("best", "probability"):
        trainer = make(reward=RewardSettings(kind))
        assert predicted(trainer, first.batch, trainer.initial_state()) is None
        state = after(trainer, first)
        before, known = predicted(trainer, second, state), rewards_of(trainer, first, state)
        assert before is not None and known is not None
        if kind == "best":
            best = first.batch.latents_B_C_H_W[[3]]
            want = similarities(trainer, second, best)[:, 0]
            assert before.numpy() == pytest.approx(want, abs=1e-6)
        labelled = LabelledRound(1, second, Labels((False,) * 6))
        later = rewards_of(trainer, labelled, state.with_labels(labelled))
        assert later is not None and torch.equal(later, before) is (kind == "best")
    trainer = make(reward=RewardSettings("labels"))
    assert predicted(trainer, second, after(trainer, first)) is None


def test_the_embedding_learns_what_is_good(make: Callable[..., Trainer]) -> None:
    """Good latents share a pattern, bad ones another: the order of rewards becomes right."""
    trainer = make(embedding=replace(make().settings.embedding, epochs=60))
    random = torch.Generator().manual_seed(0)
    patterns = torch.randn(2, 4, 8, 8, generator=random)
    good = (True, True, True, False, False, False)
    latents = torch.stack([patterns[0 if each else 1] for each in good])
    latents = 0.5 * latents + torch.randn(6, 4, 8, 8, generator=random)
    round = LabelledRound(0, Batch(latents, latents), Labels(good, bests=(0,)))
    start = after(trainer, round)
    epochs: list[tuple[int, int]] = []
    state, losses = trainer.fit_embedding(
        start, [triplets_of(trainer, round, start)], 0, lambda *at: epochs.append(at)
    )
    assert losses["embed_loss_last"] < losses["embed_loss_first"] / 2
    assert epochs == [(epoch, 60) for epoch in range(1, 61)]
    rewards = rewards_of(trainer, round, state)
    assert rewards is not None and auc_of_labelled(rewards, round) == 1
    assert float(rewards[:3].min()) > float(rewards[3:].max()) + 0.1
    again = trainer.initial_state().embedding
    assert all(torch.equal(again[name], each) for name, each in start.embedding.items())


def test_auc_counts_pairs_of_labelled_pictures() -> None:
    """Of the pairs (0, 2), (0, 5), (3, 2), (3, 5): right, right, tied, wrong."""
    batch, groups = pictures(0), torch.tensor([0, 0, 0, 1, 1, 1])
    labels = Labels((True, None, False, True, None, False))
    rewards = torch.tensor([0.9, float("nan"), 0.4, 0.4, 0.0, 0.5])
    assert auc_of_labelled(rewards, LabelledRound(0, batch, labels)) == 2.5 / 4
    by_prompt = LabelledRound(0, replace(batch, groups=groups), labels)  # (0, 2) and (3, 5)
    assert auc_of_labelled(rewards, by_prompt) == 1 / 2
    only_good = Labels((True, None, None, True, None, None))
    assert auc_of_labelled(rewards, LabelledRound(0, batch, only_good)) is None


@pytest.mark.parametrize("update", ["ddpo", "forward"])
def test_restored_is_as_it_was(make: Callable[..., Trainer], update: str) -> None:
    """Bit by bit; another trainer then makes the same next step."""
    trainer, other = make(update=update), make(update=update)
    round, state, task = first_lesson(trainer)
    state, _ = trainer.improve(state, task)
    state = state.next_round(round, trainer.initial_state().policy)
    again = other.restored(state.parts(), state.round, state.labels_used)
    for part, tensors in again.parts().items():
        assert tensors.keys() == state.parts()[part].keys() and tensors
        assert all(torch.equal(tensors[name], each) for name, each in state.parts()[part].items())
    one, two = trainer.improve(state, task), other.improve(again, task)
    assert one[1] == two[1]
    assert all(torch.equal(two[0].lora[name], each) for name, each in one[0].lora.items())


def test_a_state_is_a_value(make: Callable[..., Trainer]) -> None:
    """Learning on does not reach into its tensors."""
    trainer = make(update="forward")
    _, start, task = first_lesson(trainer)
    state, _ = trainer.improve(start, task)
    for part in ("lora", "optimizer"):
        before = state.parts()[part]
        copy = {name: each.clone() for name, each in before.items()}
        trainer.improve(state, task)
        assert all(torch.equal(before[name], each) for name, each in copy.items())


def without_embedding(parts: Parts) -> None:
    del parts["embedding"]


def other_lora(parts: Parts) -> None:
    parts["lora"] = {f"{name}x": each for name, each in parts["lora"].items()}


def thinner_lora(parts: Parts) -> None:
    parts["lora"] = {name: each[:1] for name, each in parts["lora"].items()}


def wider_embedding(parts: Parts) -> None:
    parts["embedding"]["features.0.bias"] = torch.zeros(99)


def odd_optimizer(parts: Parts) -> None:
    parts["optimizer"] = {"adam.9999.step": torch.zeros(1)}


def half_a_memory(parts: Parts) -> None:
    del parts["memory"]["good_N"]


@pytest.mark.parametrize(
    "spoil",
    [without_embedding, other_lora, thinner_lora, wider_embedding, odd_optimizer, half_a_memory],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    make: Callable[..., Trainer], spoil: Callable[[Parts], None]
) -> None:
    trainer = make()
    parts = trainer.initial_state().parts()
    spoil(parts)
    with pytest.raises(HeroError, match=r"the checkpoint does not fit the run: .") as error:
        trainer.restored(parts, 1, 6)
    assert error.value.exit_code == 4 and "\n" not in error.value.message


@pytest.mark.parametrize("update", ["ddpo", "forward"])
def test_infinite_weights_end_the_run(make: Callable[..., Trainer], update: str) -> None:
    trainer = make(update=update)
    _, state, task = first_lesson(trainer)
    lora = dict(state.lora)
    lora[next(iter(lora))] = torch.full_like(next(iter(lora.values())), float("inf"))
    with pytest.raises(HeroError, match=rf"lower {update}\.learning_rate") as error:
        trainer.improve(replace(state, lora=lora), task)
    assert error.value.exit_code == 1
