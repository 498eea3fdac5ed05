"""Rewards and advantages against numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from hero_engine.labels import Labels
from hero_engine.reward import advantages, label_reward, positives_reward, similarity_reward


class Flat(nn.Module):
    """An embedding that keeps the numbers as they are, so cosines can be worked out by hand."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.flatten(1)


LATENTS = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [-2.0, 0.0]]).view(4, 1, 1, 2)


def test_similarity_is_the_rescaled_cosine() -> None:
    rewards = similarity_reward(Flat(), LATENTS, LATENTS[0])  # type: ignore[arg-type]
    assert rewards.tolist() == pytest.approx([1.0, 0.8, 0.5, 0.0])  # cosines 1, .6, 0, -1


def test_positives_reward_is_the_mean_similarity() -> None:
    rewards = positives_reward(Flat(), LATENTS, LATENTS[[0, 2]])  # type: ignore[arg-type]
    # cosines with the second positive: 0, .8, 1, 0
    assert rewards.tolist() == pytest.approx([0.75, 0.85, 0.75, 0.25])
    with pytest.raises(ValueError, match="no positive"):
        positives_reward(Flat(), LATENTS, LATENTS[:0])  # type: ignore[arg-type]


def test_advantages_against_numpy() -> None:
    values = np.random.default_rng(0).random(64).astype(np.float32)
    want = (values - values.mean()) / (values.std() + 1e-8)
    assert np.allclose(advantages(torch.from_numpy(values)).numpy(), want, atol=1e-5)


def test_advantages_of_equal_rewards_are_zero() -> None:
    assert advantages(torch.full((5,), 0.25)).tolist() == [0.0] * 5


def test_unknown_rewards_take_no_part() -> None:
    rewards = label_reward(Labels((True, None, False, False, None)))
    assert rewards.isnan().tolist() == [False, True, False, False, True]
    got = advantages(rewards).tolist()
    want = (np.array([1.0, 0, 0]) - 1 / 3) / np.array([1.0, 0, 0]).std()
    assert got == pytest.approx([want[0], 0, want[1], want[2], 0], abs=1e-6)
    assert advantages(torch.tensor([float("nan")])).tolist() == [0.0]
