"""Rewards and advantages against numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hero_engine.core.labels import Labels
from hero_engine.reward.logistic_head import BayesianLogisticHead, fit_logistic
from hero_engine.reward.rewards import (
    advantages,
    label_reward,
    positives_reward,
)


class Flat(nn.Module):
    """An embedding that keeps the numbers as they are, so cosines can be worked out by hand."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.flatten(1)


LATENTS = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [-2.0, 0.0]]).view(4, 1, 1, 2)


def test_similarity_is_the_rescaled_cosine() -> None:
    rewards = positives_reward(Flat(), LATENTS, LATENTS[:1])  # type: ignore[arg-type]
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


@pytest.mark.parametrize(("count", "width"), [(40, 5), (6, 30)])
def test_the_logistic_head_is_where_the_penalised_sum_is_least(count: int, width: int) -> None:
    """The slope by hand is zero there: sum (p - t) x + w = 0, and sum (p - t) = 0."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(count, width, generator=random, dtype=torch.float64)
    targets = torch.rand(count, generator=random, dtype=torch.float64)
    weights, offset = fit_logistic(features, targets)
    x, t, w = features.numpy(), targets.numpy(), weights.numpy()
    p = 1 / (1 + np.exp(-(x @ w + float(offset))))
    assert np.allclose(x.T @ (p - t) + w, 0, atol=1e-9)
    assert abs(float((p - t).sum())) < 1e-9


@pytest.mark.parametrize("standardise", [False, True])
def test_chances_are_calibrated_on_unseen_pictures(standardise: bool) -> None:
    """Good with probability (1 + sin(angle)) / 2: of those told p, about p are good."""

    def drawn(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(seed)
        angle = torch.rand(count, generator=random) * torch.pi - torch.pi / 2
        good = torch.rand(count, generator=random) < (1 + angle.sin()) / 2
        return torch.stack([angle.cos(), angle.sin()], 1), good

    known, unseen = drawn(600, 0), drawn(6000, 1)
    chances = BayesianLogisticHead.fit(*known, standardise=standardise)(unseen[0])
    for low in (0.1, 0.3, 0.5, 0.7):
        told = (chances >= low) & (chances < low + 0.2)
        assert told.sum() > 300
        assert float(unseen[1][told].float().mean()) == pytest.approx(
            float(chances[told].mean()), abs=0.1
        )


def test_standardised_features_lose_their_units() -> None:
    """Another scale and origin of every feature leaves the chances as they were."""
    random = torch.Generator().manual_seed(2)
    features, unseen = (torch.randn(n, 7, generator=random, dtype=torch.float64) for n in (40, 5))
    good = features[:, 0] > 0
    scale, shift = torch.logspace(0, 3, 7).double(), torch.linspace(-9, 9, 7).double()
    plain = BayesianLogisticHead.fit(features, good, standardise=True)(unseen)
    other = BayesianLogisticHead.fit(features * scale + shift, good, standardise=True)
    assert torch.allclose(other(unseen * scale + shift), plain, atol=0.01)
    assert float(plain.std()) > 0.1


def laplace(
    features: torch.Tensor, good: torch.Tensor, unseen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights' posterior covariance as a whole matrix, and the logits of unseen pictures."""
    goods, bads = int(good.sum()), int((~good).sum())
    targets = torch.where(good, (goods + 1) / (goods + 2), 1 / (bads + 2)).double()
    weights, offset = fit_logistic(features, targets)
    chances = (features @ weights + offset).sigmoid()
    hessian = (features.T * (chances * (1 - chances))) @ features + torch.eye(features.shape[1])
    return hessian.inverse(), unseen @ weights + offset


@pytest.mark.parametrize(("count", "width"), [(60, 4), (12, 30)])
def test_chances_are_means_over_the_weights_that_are_left(count: int, width: int) -> None:
    """MacKay's formula with the covariance as a whole matrix; and the mean itself, by drawing."""
    random = torch.Generator().manual_seed(5)
    features = torch.randn(count, width, generator=random, dtype=torch.float64)
    unseen = 2 * torch.randn(40, width, generator=random, dtype=torch.float64)
    good = features[:, 0] + 0.5 * features[:, 1] > 0.2
    got = BayesianLogisticHead.fit(features, good, standardise=False)(unseen)
    covariance, logits = laplace(features, good, unseen)
    variance = ((unseen @ covariance) * unseen).sum(1)
    want = (logits / (1 + math.pi / 8 * variance).sqrt()).sigmoid()
    assert torch.allclose(got, want, atol=1e-9)
    root = torch.linalg.cholesky(covariance)
    drawn = torch.randn(width, 20_000, generator=random, dtype=torch.float64)
    mean = (logits[:, None] + unseen @ root @ drawn).sigmoid().mean(1)
    assert float((got - mean).abs().max()) < 0.03


def test_pictures_unlike_any_labelled_one_are_nearer_to_one_half() -> None:
    """Goods and bads lie on one axis; the farther a picture lies off it, the less is known."""
    along = torch.linspace(-3, 3, 40, dtype=torch.float64)
    features = torch.stack([along, torch.zeros(40, dtype=torch.float64)], 1)
    chance = BayesianLogisticHead.fit(features, along > 0, standardise=False)
    off = torch.tensor([0.0, 1.0, 3.0, 10.0, 100.0], dtype=torch.float64)
    chances = chance(torch.stack([torch.full((5,), 2.0, dtype=torch.float64), off], 1)).tolist()
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.9 and 0.5 < chances[-1] < 0.55


def test_of_a_single_kind_only_the_offset_is_known() -> None:
    """No weight is anything but 0 a posteriori; Platt's target 4/5 where features are 0."""
    latents = LATENTS[:3].flatten(1).double()
    chances = BayesianLogisticHead.fit(latents, torch.ones(3, dtype=torch.bool), standardise=False)
    places = torch.cat([torch.zeros(1, 2), LATENTS.flatten(1)]).double()
    covariance, logits = laplace(latents, torch.ones(3, dtype=torch.bool), places)
    assert logits.tolist() == pytest.approx([math.log(4)] * 5, abs=1e-6)
    variance = ((places @ covariance) * places).sum(1)
    want = (math.log(4) / (1 + math.pi / 8 * variance).sqrt()).sigmoid()
    assert chances(places).tolist() == pytest.approx(want.tolist(), abs=1e-6)
    assert float(chances(places)[0]) == pytest.approx(4 / 5, abs=1e-6)
