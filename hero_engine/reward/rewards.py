"""From labels to rewards, and from rewards to advantages (paper, sections 4.2 and 3)."""

from dataclasses import dataclass
from math import pi
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from hero_engine.core.labels import Labels
from hero_engine.reward.embedding import Embedding

NEWTON_STEPS = 12
SPREAD = 5.0
"""Deviation of the logits that standardised features are given before there are labels."""
SMALLEST_DEVIATION = 1e-3
SMALLEST_VARIANCE = 1e-6
"""Of a label, by the chance that was fitted to it."""


@torch.no_grad()
def similarity_reward(embedding: Embedding, latents_B_C_H_W: Tensor, best_C_H_W: Tensor) -> Tensor:
    """r(z_0) = (cos(E(z_0), E(z_0^best)) + 1)/2: (B,), in 0..1. The triplet head takes no part."""
    return positives_reward(embedding, latents_B_C_H_W, best_C_H_W[None])


@torch.no_grad()
def positives_reward(
    embedding: Embedding, latents_B_C_H_W: Tensor, positives_N_C_H_W: Tensor
) -> Tensor:
    """The mean over the positives of (cos + 1)/2: (B,), in 0..1. ValueError without positives."""
    if len(positives_N_C_H_W) == 0:
        raise ValueError("no positive to be similar to")
    features = functional.normalize(embedding(latents_B_C_H_W))
    references = functional.normalize(embedding(positives_N_C_H_W))
    return ((features @ references.T + 1) / 2).mean(1).clamp(0, 1)


def label_reward(labels: Labels) -> Tensor:
    """The label itself, 1 good and 0 bad: (B,). NaN where unlabelled: no reward is known."""
    values = [float("nan") if good is None else float(good) for good in labels.good]
    return torch.tensor(values)


@dataclass(frozen=True)
class ChanceOfGood:
    """The chance that a picture is good, by a logistic head on its features.

    As Platt (1999) does, the targets it is fitted to are not 1 and 0 but (G + 1)/(G + 2) and
    1/(B + 2), with G goods and B bads. Features are shifted and scaled first, all float64.

    A chance is a mean over the weights that the labels leave possible (Laplace's approximation,
    with the offset taken as known), by MacKay's (1992) formula. So it is nearer to one half the
    less a picture is like any labelled one: what an update makes of a model would else soon be
    something that no label speaks of, and that the head is sure of (docs/results.md).
    """

    centre_F: Tensor
    scale_F: Tensor
    weights_F: Tensor
    offset: Tensor
    seen_N_F: Tensor
    shared_N_N: Tensor

    @classmethod
    @torch.no_grad()
    def fit(cls, features_N_F: Tensor, good_N: Tensor, *, standardise: bool) -> Self:
        """To N >= 1 pictures that are known, good_N bool.

        standardise: to mean 0, deviation 1, and a mean square length of SPREAD^2. The head's
        weights are drawn from N(0, I) a priori (`fit_logistic`), so before any label the logits of
        such pictures spread with that deviation. Else features are taken as they are.
        """
        features = features_N_F.double()
        centre, scale = torch.zeros(features.shape[1]).to(features), torch.ones(1).to(features)
        if standardise:
            centre = features.mean(0)
            deviation = (features - centre).square().mean(0).sqrt() + SMALLEST_DEVIATION
            scale = SPREAD / (deviation * features.shape[1] ** 0.5)
        good = good_N.to(features.device)
        goods, bads = int(good.sum()), int((~good).sum())
        targets = torch.where(good, (goods + 1) / (goods + 2), 1 / (bads + 2)).to(features)
        seen = (features - centre) * scale
        weights, offset = fit_logistic(seen, targets)
        chances = (seen @ weights + offset).sigmoid()
        noise = 1 / (chances * (1 - chances)).clamp(min=SMALLEST_VARIANCE)
        return cls(centre, scale, weights, offset, seen, (seen @ seen.T + noise.diag()).inverse())

    @torch.no_grad()
    def __call__(self, features_B_F: Tensor) -> Tensor:
        """(B,) in 0..1, float64."""
        scaled = (features_B_F.double() - self.centre_F) * self.scale_F
        logits = scaled @ self.weights_F + self.offset
        return (logits / (1 + pi / 8 * self._variance(scaled)).sqrt()).sigmoid()

    def _variance(self, scaled_B_F: Tensor) -> Tensor:
        """Of the logits, by the weights' posterior covariance (X^T W X + I)^-1: (B,).

        By Woodbury's identity it is I - X^T (X X^T + W^-1)^-1 X, with X the labelled pictures.
        """
        likeness = scaled_B_F @ self.seen_N_F.T
        known = ((likeness @ self.shared_N_N) * likeness).sum(1)
        return (scaled_B_F.square().sum(1) - known).clamp(min=0)


def fit_logistic(features_N_F: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (F,) and offset that minimise the cross-entropy's sum plus |weights|^2 / 2.

    features float64, targets in 0..1. Newton's method; the sum is convex and the offset is free.
    The best weights lie in the span of the features, so with F > N they are sought there.
    """
    count, width = features_N_F.shape
    if width > count:
        basis_F_N = torch.linalg.qr(features_N_F.T).Q
        weights, offset = fit_logistic(features_N_F @ basis_F_N, targets_N)
        return basis_F_N @ weights, offset
    ones = torch.ones(count, 1).to(features_N_F)
    inputs = torch.cat([features_N_F, ones], 1)
    ridge = torch.ones(inputs.shape[1]).to(inputs)
    ridge[-1] = 0
    solution = torch.zeros_like(ridge)
    for _ in range(NEWTON_STEPS):
        chances = (inputs @ solution).sigmoid()
        slope = inputs.T @ (chances - targets_N) + ridge * solution
        curve = (inputs.T * (chances * (1 - chances))) @ inputs + ridge.diag()
        solution = solution - torch.linalg.solve(curve, slope)
    return solution[:-1], solution[-1]


def advantages(rewards_B: Tensor) -> Tensor:
    """(r - mean)/(std + 1e-8) with the population's standard deviation, as ddpo-pytorch (numpy's).

    A NaN reward (unknown) takes no part and gets advantage 0.
    """
    known = ~rewards_B.isnan()
    values = rewards_B[known]
    result = torch.zeros_like(rewards_B)
    if len(values) > 0:
        result[known] = (values - values.mean()) / (values.std(correction=0) + 1e-8)
    return result
