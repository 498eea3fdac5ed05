"""The pool of joint self-training: labelled images, and unlabelled ones by rank (not in the paper).

Unlabelled images are ranked by their predicted probability of being good. The probabilities also
say how many goods to expect: the first `GOOD_RATIO` of those count as good, the last `BAD_RATIO` of
the expected bads as bad, and the rest is left out. With few labels the ranks are right far more
often than the probabilities are large, so a pool by rank is purer than one by probability.

The images that rank first resemble each other. `novelty` gives the unusual ones their share back: a
good image's weight grows with its distance to its nearest neighbours among the goods.
docs/variety.md has what both are worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hero_engine.core.batch import distinct
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.updates.label_pool import Pool
from hero_engine.updates.lessons import JointImages, RankedImages

GOOD_RATIO = 2 / 3
BAD_RATIO = 0.8
NEIGHBOURS = 5
SMALLEST_DEVIATION = 1e-3


def ranked_pool(known: LabelledLatents, joint: JointImages) -> Pool:
    """The labelled images of all rounds and the unlabelled ones, ranked by policy and prompt.

    Where no image of a prompt is labelled bad, its unlabelled ones all count as bad: they stand for
    what the policy makes on average. Where none is labelled good, they are left out.
    """
    pool = Pool.of(known.latents_N_C_H_W, known.good_N, groups=known.groups)
    for images in joint.images:
        pool = pool.plus(_ranked(known, images))
    every = [joint.features_N_F, *(images.features_B_F for images in joint.images)]
    factor_N = _novelty(pool, torch.cat(every).double(), joint.novelty)
    return replace(pool, good_weight_N=pool.good_weight_N * factor_N)


def _ranked(known: LabelledLatents, images: RankedImages) -> Pool:
    """The images of one policy, each prompt by itself."""
    batch = images.batch
    good_B, bad_B = torch.zeros(2, len(batch), dtype=torch.float64)
    for group in distinct(batch.group_ids):
        labels, own = known.of_group(group).good_N, batch.group_ids == group
        if bool(labels.any()):
            all_good = bool(labels.all())
            good_B[own], bad_B[own] = by_rank(images.probability_B[own], all_bad=all_good)
    return Pool(batch.latents_B_C_H_W, good_B, bad_B, groups=batch.groups)


def by_rank(probability_B: Tensor, *, all_bad: bool = False) -> tuple[Tensor, Tensor]:
    """Which images count as good and which as bad: weights of 0 and 1, (B,) float64 each.

    all_bad: none counts as good, and all as bad.
    """
    count = len(probability_B)
    good_B, bad_B = torch.zeros(2, count, dtype=torch.float64)
    if all_bad:
        return good_B, bad_B + 1
    expected = float(probability_B.double().sum())
    goods, bads = int(GOOD_RATIO * expected), int(BAD_RATIO * (count - expected))
    order = probability_B.argsort(descending=True, stable=True)
    good_B[order[:goods]] = 1
    bad_B[order[count - bads :]] = 1
    return good_B, bad_B


def _novelty(pool: Pool, features_N_F: Tensor, power: float) -> Tensor:
    """Each image's factor, (N,) float64, of mean 1 over a prompt's goods: see the module's text."""
    factor_N = torch.ones(len(pool), dtype=torch.float64)
    scaled = features_N_F / (features_N_F.std(0, correction=0) + SMALLEST_DEVIATION)
    for good_N in _goods_by_prompt(pool):
        if int(good_N.sum()) > 1 and power > 0:
            factor_N[good_N] = unusualness(scaled[good_N]) ** power
            factor_N[good_N] /= factor_N[good_N].mean().clamp(min=1e-12)
    return factor_N


def _goods_by_prompt(pool: Pool) -> Iterator[Tensor]:
    """For each prompt, which images count as good: (N,) bool."""
    for group in pool.taught:
        yield (pool.group_ids == group) & (pool.good_weight_N > 0)


def unusualness(features_N_F: Tensor) -> Tensor:
    """Each image's mean distance to its nearest neighbours, over the mean of these: (N,)."""
    distances = torch.cdist(features_N_F, features_N_F).fill_diagonal_(torch.inf)
    neighbours = min(NEIGHBOURS, len(features_N_F) - 1)
    nearest = distances.topk(neighbours, largest=False).values.mean(1)
    return nearest / nearest.mean().clamp(min=1e-12)
