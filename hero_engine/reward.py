"""From labels to rewards, and from rewards to advantages (paper, sections 4.2 and 3)."""

import torch
from torch import Tensor
from torch.nn import functional

from hero_engine.labels import Labels
from hero_engine.representation import Embedding

NEWTON_STEPS = 12


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


@torch.no_grad()
def probability_reward(
    embedding: Embedding, latents_B_C_H_W: Tensor, known_N_C_H_W: Tensor, good_N: Tensor
) -> Tensor:
    """The chance of being good: (B,), in 0..1, by a logistic head on the embedding's features.

    The head is fitted to the known pictures (N >= 1). As Platt (1999) does, their targets are not
    1 and 0 but (G + 1)/(G + 2) and 1/(B + 2), with G goods and B bads. The embedding has seen the
    same labels, so chances are still surer than those of unseen pictures.
    """
    known = functional.normalize(embedding(known_N_C_H_W)).double()
    goods, bads = int(good_N.sum()), int((~good_N).sum())
    good = good_N.to(known.device)
    targets = torch.where(good, (goods + 1) / (goods + 2), 1 / (bads + 2)).to(known)
    weights, offset = fit_logistic(known, targets)
    pictures = functional.normalize(embedding(latents_B_C_H_W)).double()
    return (pictures @ weights + offset).sigmoid().float()


def fit_logistic(features_N_F: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (F,) and offset that minimise the cross-entropy's sum plus |weights|^2 / 2.

    features float64, targets in 0..1. Newton's method; the sum is convex and the offset is free.
    """
    ones = torch.ones(len(features_N_F), 1).to(features_N_F)
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
