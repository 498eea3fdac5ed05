"""A Bayesian logistic head: the probability that an image is good, from few labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Self

import torch
from torch import Tensor

NEWTON_STEPS = 12
PRIOR_LOGIT_STD = 5.0
"""Standard deviation of the logits that standardised features have a priori."""
SMALLEST_DEVIATION = 1e-3
SMALLEST_VARIANCE = 1e-6
"""Least variance of a label, given its fitted probability."""


@dataclass(frozen=True)
class BayesianLogisticHead:
    """Logistic regression with a Gaussian prior on its weights and a Laplace posterior.

    The targets are Platt's (1999): (G + 1)/(G + 2) for the G goods and 1/(B + 2) for the B bads,
    not 1 and 0. A prediction averages over the posterior of the weights (the offset is taken as
    known) by MacKay's (1992) formula. So it comes closer to one half the less an image resembles
    any labelled one; without that, an update soon produces images that no label speaks of and of
    which the head is certain (docs/results.md). All tensors are float64.
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
        """Fit to N >= 1 labelled images, good_N bool.

        standardise: shift and scale the features to mean 0, deviation 1, and a mean square length
        of PRIOR_LOGIT_STD^2. The weights are N(0, I) a priori, so the logits of such images then
        have that standard deviation. Otherwise features are taken as they are.
        """
        features = features_N_F.double()
        centre, scale = torch.zeros(features.shape[1]).to(features), torch.ones(1).to(features)
        if standardise:
            centre = features.mean(0)
            deviation = (features - centre).square().mean(0).sqrt() + SMALLEST_DEVIATION
            scale = PRIOR_LOGIT_STD / (deviation * features.shape[1] ** 0.5)
        good = good_N.to(features.device)
        goods, bads = int(good.sum()), int((~good).sum())
        targets = torch.where(good, (goods + 1) / (goods + 2), 1 / (bads + 2)).to(features)
        seen = (features - centre) * scale
        weights, offset = fit_logistic(seen, targets)
        fitted = (seen @ weights + offset).sigmoid()
        noise = 1 / (fitted * (1 - fitted)).clamp(min=SMALLEST_VARIANCE)
        return cls(centre, scale, weights, offset, seen, (seen @ seen.T + noise.diag()).inverse())

    @torch.no_grad()
    def __call__(self, features_B_F: Tensor) -> Tensor:
        """The probability of good, (B,) in 0..1, float64."""
        scaled = (features_B_F.double() - self.centre_F) * self.scale_F
        logits = scaled @ self.weights_F + self.offset
        return (logits / (1 + pi / 8 * self._variance(scaled)).sqrt()).sigmoid()

    def _variance(self, scaled_B_F: Tensor) -> Tensor:
        """Variance (B,) of logits, by the weights' posterior covariance (X^T W X + I)^-1.

        By Woodbury's identity it is I - X^T (X X^T + W^-1)^-1 X, with X the labelled images.
        """
        likeness = scaled_B_F @ self.seen_N_F.T
        known = ((likeness @ self.shared_N_N) * likeness).sum(1)
        return (scaled_B_F.square().sum(1) - known).clamp(min=0)


def fit_logistic(features_N_F: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (F,) and offset that minimise the summed cross-entropy plus |weights|^2 / 2.

    features float64, targets in 0..1. Newton's method; the sum is convex, the offset has no prior.
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
        fitted = (inputs @ solution).sigmoid()
        slope = inputs.T @ (fitted - targets_N) + ridge * solution
        curve = (inputs.T * (fitted * (1 - fitted))) @ inputs + ridge.diag()
        solution = solution - torch.linalg.solve(curve, slope)
    return solution[:-1], solution[-1]
