"""What one round hands to the next, away from the loop: memory, contrast, rewards, checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny_settings

from hero_engine.config.settings import RewardSettings
from hero_engine.core.batch import Batch
from hero_engine.core.errors import HeroError
from hero_engine.core.labels import Labels
from hero_engine.policy.sampler import pick_training_steps, sample
from hero_engine.storage.run_folder import Parts
from hero_engine.training.state import Learner, auc_of_labelled

ODD = Labels((True, None, False, True, True, False), best=3)


@pytest.fixture
def make(square_folder: Path) -> Callable[..., Learner]:
    """New learners."""
    return lambda **changes: Learner.open(tiny_settings(square_folder, **changes), "cpu")


def pictures(number: int, count: int = 6) -> Batch:
    """Random noises and latents."""
    random = torch.Generator().manual_seed(number)
    noises, latents = torch.randn(2, count, 4, 8, 8, generator=random)
    return Batch(noises, latents)


def silent(done: int, total: int) -> None:
    pass


def test_memory_grows_by_what_is_labelled(make: Callable[..., Learner]) -> None:
    learner, first, second = make(), pictures(0), pictures(1)
    learner.remember(first, ODD)
    learner.remember(second, Labels((None, False, None, None, True, None)))
    assert learner.memory.good_N.tolist() == [True, False, True, True, False, False, True]
    want = [first.latents_B_C_H_W[[0, 2, 3, 4, 5]], second.latents_B_C_H_W[[1, 4]]]
    assert torch.equal(learner.memory.latents_N_C_H_W, torch.cat(want))
    assert learner.best_C_H_W is not None
    assert torch.equal(learner.best_C_H_W, first.latents_B_C_H_W[3])


def test_contrast_leaves_best_out(make: Callable[..., Learner]) -> None:
    learner, first, second = make(), pictures(0), pictures(1)
    assert learner.contrast(first, ODD) is None  # there is no best yet
    learner.remember(first, ODD)
    positives, negatives = learner.contrast(first, ODD) or (None, None)
    assert positives is not None and negatives is not None
    assert torch.equal(positives, first.latents_B_C_H_W[[0, 4]])
    assert torch.equal(negatives, first.latents_B_C_H_W[[2, 5]])
    # Best is of an earlier round: all of this round's goods are positives.
    later = Labels((True, False, None, None, None, None))
    positives, negatives = learner.contrast(second, later) or (None, None)
    assert positives is not None and torch.equal(positives, second.latents_B_C_H_W[:1])
    for one_sided in ((True,) * 6, (False,) * 6, (None,) * 6):
        assert learner.contrast(second, Labels(one_sided)) is None
    assert learner.contrast(first, Labels((False, None, None, True, None, None), 3)) is None


def test_contrast_with_all_rounds(make: Callable[..., Learner]) -> None:
    """A best that was replaced is a positive like others."""
    settings = make().settings
    learner = make(embedding=replace(settings.embedding, history="all"))
    first, second = pictures(0), pictures(1)
    learner.remember(first, ODD)
    better = Labels((None, None, None, None, None, True), best=5)
    learner.remember(second, better)
    positives, negatives = learner.contrast(second, better) or (None, None)
    assert positives is not None and negatives is not None
    assert torch.equal(positives, first.latents_B_C_H_W[[0, 3, 4]])
    assert torch.equal(negatives, first.latents_B_C_H_W[[2, 5]])


def similarities(learner: Learner, batch: Batch, references: torch.Tensor) -> Any:
    """(cos + 1) / 2 of the features, by numpy: (pictures, references)."""
    with torch.no_grad():
        ours, theirs = (
            learner.embedding(each).numpy().astype(float)
            for each in (batch.latents_B_C_H_W, references)
        )
    lengths = np.outer(np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1))
    return (ours @ theirs.T / lengths + 1) / 2


def test_chances_are_rewards_of_all_pictures_and_need_no_best(make: Callable[..., Learner]) -> None:
    """The goods' are higher; an unlabelled picture has one too."""
    batch, learner = pictures(0), make(reward=RewardSettings("probability"))
    assert learner.rewards(batch, Labels((None,) * 6)) is None
    rewards = learner.rewards(batch, Labels((True, None, False, True, True, False)))
    assert rewards is not None and rewards.shape == (6,)
    assert bool(((rewards > 0) & (rewards < 1)).all())
    assert float(rewards[[0, 3, 4]].mean()) > float(rewards[[2, 5]].mean())


def test_rewards(make: Callable[..., Learner]) -> None:
    batch, nothing = pictures(0), Labels((False,) * 6)
    for kind in ("best", "positives"):
        learner = make(reward=RewardSettings(kind))
        assert learner.rewards(batch, nothing) is None
        learner.remember(batch, ODD)
        assert learner.best_C_H_W is not None
        to_best = similarities(learner, batch, learner.best_C_H_W[None])[:, 0]
        to_goods = similarities(learner, batch, batch.latents_B_C_H_W[[0, 3, 4]]).mean(1)
        got = learner.rewards(batch, ODD)
        assert got is not None and np.ptp(to_best) > 1e-3
        assert got.numpy() == pytest.approx(to_best if kind == "best" else to_goods, abs=1e-6)
        alone = learner.rewards(batch, nothing)  # a round without goods: best is what is left
        assert alone is not None and alone.numpy() == pytest.approx(to_best, abs=1e-6)
    rewards = make(reward=RewardSettings("labels")).rewards(batch, ODD)
    assert rewards is not None
    assert np.array_equal(rewards.numpy(), [1, np.nan, 0, 1, 1, 0], equal_nan=True)


def test_what_is_foreseen_knows_nothing_of_the_pictures_labels(
    make: Callable[..., Learner],
) -> None:
    """Similarity to the best so far, or chances by the labels so far; None before there are any."""
    first, second = pictures(0), pictures(1)
    for kind in ("best", "probability"):
        learner = make(reward=RewardSettings(kind))
        assert learner.foreseen(first) is None
        learner.remember(first, ODD)
        foreseen, known = learner.foreseen(second), learner.rewards(first, ODD)
        assert foreseen is not None and known is not None
        if kind == "best":
            assert learner.best_C_H_W is not None
            want = similarities(learner, second, learner.best_C_H_W[None])[:, 0]
            assert foreseen.numpy() == pytest.approx(want, abs=1e-6)
        learner.remember(second, Labels((False,) * 6))
        later = learner.rewards(second, Labels((False,) * 6))
        assert later is not None and torch.equal(later, foreseen) is (kind == "best")
    labels_only = make(reward=RewardSettings("labels"))
    labels_only.remember(first, ODD)
    assert labels_only.foreseen(second) is None


def test_the_embedding_learns_what_is_good(make: Callable[..., Learner]) -> None:
    """Good latents share a pattern, bad ones another: the order of rewards becomes right."""
    settings = make().settings
    learner = make(embedding=replace(settings.embedding, epochs=60))
    random = torch.Generator().manual_seed(0)
    patterns = torch.randn(2, 4, 8, 8, generator=random)
    good = (True, True, True, False, False, False)
    latents = torch.stack([patterns[0 if each else 1] for each in good])
    latents = 0.5 * latents + torch.randn(6, 4, 8, 8, generator=random)
    batch, labels = Batch(latents, latents), Labels(good, best=0)
    learner.remember(batch, labels)
    contrast = learner.contrast(batch, labels)
    assert contrast is not None
    epochs: list[tuple[int, int]] = []
    losses = learner.train_embedding(contrast, 0, lambda *at: epochs.append(at))
    assert losses["embed_loss_last"] < losses["embed_loss_first"] / 2
    assert epochs == [(epoch, 60) for epoch in range(1, 61)]
    rewards = learner.rewards(batch, labels)
    assert rewards is not None and auc_of_labelled(rewards, labels) == 1
    assert float(rewards[:3].min()) > float(rewards[3:].max()) + 0.1


def test_auc_counts_pairs_of_labelled_pictures() -> None:
    """Of the pairs (0, 2), (0, 5), (3, 2), (3, 5): right, right, tied, wrong."""
    labels = Labels((True, None, False, True, None, False))
    rewards = torch.tensor([0.9, float("nan"), 0.4, 0.4, 0.0, 0.5])
    assert auc_of_labelled(rewards, labels) == 2.5 / 4
    assert auc_of_labelled(rewards, Labels((True, None, None, True, None, None))) is None


def experience(learner: Learner, labels: Labels) -> Any:
    """A sampled round, with some rewards."""
    settings, model = learner.settings, learner.model
    kept = pick_training_steps(model, settings.sampler, 2, 6, 0, 0)
    noises = pictures(3).noises_B_C_H_W
    batch = sample(model, "a", noises, settings.sampler, seed=0, round=0, kept_steps_B_S=kept)
    learner.remember(batch, labels)
    return learner.experience(batch, labels, torch.linspace(0, 1, 6), 0)


@pytest.mark.parametrize("update", ["ddpo", "forward"])
def test_restored_is_as_it_was(make: Callable[..., Learner], update: str) -> None:
    """Bit by bit; another learner then makes the same next step."""
    learner, other = make(update=update), make(update=update)
    given = experience(learner, ODD)
    learner.improve(given, silent)
    learner.prior = learner.prior.updated(given.batch, ODD)
    parts = learner.parts()
    other.restore(parts)
    for part, tensors in other.parts().items():
        assert tensors.keys() == parts[part].keys() and tensors
        assert all(torch.equal(tensors[name], each) for name, each in parts[part].items())
    assert learner.improve(given, silent) == other.improve(given, silent)


def test_parts_are_a_snapshot(make: Callable[..., Learner]) -> None:
    """Learning on does not reach into a checkpoint's tensors."""
    learner = make(update="forward")
    given = experience(learner, ODD)
    learner.improve(given, silent)
    for part in ("lora", "optimizer"):
        before = learner.parts()[part]
        copy = {name: each.clone() for name, each in before.items()}
        learner.improve(given, silent)
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
    make: Callable[..., Learner], spoil: Callable[[Parts], None]
) -> None:
    learner = make()
    parts = learner.parts()
    spoil(parts)
    with pytest.raises(HeroError, match=r"the checkpoint does not fit the run: .") as error:
        learner.restore(parts)
    assert error.value.exit_code == 4 and "\n" not in error.value.message


@pytest.mark.parametrize("update", ["ddpo", "forward"])
def test_weights_that_are_no_numbers_end_the_run(make: Callable[..., Learner], update: str) -> None:
    learner = make(update=update)
    given = experience(learner, ODD)
    learner.model.lora_parameters()[0].data.fill_(float("inf"))
    with pytest.raises(HeroError, match=rf"smaller {update}\.learning_rate") as error:
        learner.improve(given, silent)
    assert error.value.exit_code == 1
