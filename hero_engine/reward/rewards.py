"""From labels to rewards, and from rewards to advantages (paper, sections 4.2 and 3).

What differs from sony/hero: the mean similarity to all positives (`reward.kind = "positives"`)
includes the best image; theirs leaves it out, unless it was carried over from an earlier round.
"""

import torch
from torch import Tensor
from torch.nn import functional

from hero_engine.core.batch import distinct
from hero_engine.core.labels import Labels
from hero_engine.reward.embedding import Embedding


@torch.no_grad()
def positives_reward(
    embedding: Embedding, latents_B_C_H_W: Tensor, positives_N_C_H_W: Tensor
) -> Tensor:
    """The mean over the positives of (cos(E(z_0), E(positive)) + 1)/2: (B,), in 0..1.

    The best alone as positive is the paper's reward. The triplet head takes no part. ValueError
    without positives.
    """
    if len(positives_N_C_H_W) == 0:
        raise ValueError("no positive to be similar to")
    features = functional.normalize(embedding(latents_B_C_H_W))
    references = functional.normalize(embedding(positives_N_C_H_W))
    return ((features @ references.T + 1) / 2).mean(1).clamp(0, 1)


def label_reward(labels: Labels) -> Tensor:
    """The label itself, 1 good and 0 bad: (B,). NaN where unlabelled: no reward is known."""
    values = [float("nan") if good is None else float(good) for good in labels.good]
    return torch.tensor(values)


def group_advantages(rewards_B: Tensor, group_B: Tensor) -> Tensor:
    """The advantages of each group's images among themselves: (B,)."""
    result = torch.zeros_like(rewards_B)
    for group in distinct(group_B):
        result[group_B == group] = advantages(rewards_B[group_B == group])
    return result


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
