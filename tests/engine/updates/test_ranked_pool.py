"""Pseudo-labels by rank and weights of unusual images, against loops."""

import math
from dataclasses import replace

import pytest
import torch
from students import numbers_as_latents
from torch import Tensor

from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.updates.label_pool import Pool
from hero_engine.updates.lessons import JointImages, RankedImages
from hero_engine.updates.ranked_pool import by_rank, ranked_pool


def latents(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64).view(-1, 1, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_ranks_are_good_and_the_last_ones_bad(seed: int) -> None:
    """Two thirds of the goods to be expected, and four fifths of the bads."""
    probabilities = torch.rand(40, generator=torch.Generator().manual_seed(seed))
    good_B, bad_B = by_rank(probabilities)
    expected = sum(probabilities.tolist())
    falling = sorted(probabilities.tolist(), reverse=True)
    goods, bads = math.floor(expected * 2 / 3), math.floor((40 - expected) * 0.8)
    assert goods and bads
    for weights, want in ((good_B, falling[:goods]), (bad_B, falling[-bads:])):
        assert set(weights.tolist()) <= {0, 1}
        assert sorted(probabilities[weights > 0].tolist(), reverse=True) == want


def joint(known: LabelledLatents, probabilities: Tensor, features: Tensor, novelty: float) -> Pool:
    """Of one group of unlabelled images; the features of the labelled ones come first."""
    count = len(known)
    batch = numbers_as_latents(latents(len(probabilities)))
    group = RankedImages(batch, features[count:], probabilities)
    return ranked_pool(known, JointImages(features[:count], [group], novelty))


def test_unusual_goods_weigh_more() -> None:
    """One feature, two labelled goods and eight ranked ones: by hand, the mean distance to the five
    nearest goods, over the mean of these, to the power; then of mean 1."""
    known = LabelledLatents(latents(3), torch.tensor([True, True, False]))
    probabilities = torch.tensor([1.0] * 12 + [0.0] * 5)
    places = [0.0, 9.0, 4.0, *(float(place**2) for place in range(17))]
    features = torch.tensor(places).view(-1, 1)
    pool = joint(known, probabilities, features, novelty=2.0)
    goods = [0, 1, *range(3, 11)]
    assert pool.good_weight_N.nonzero().flatten().tolist() == goods
    near = []
    for one in goods:
        distances = sorted(abs(places[one] - places[other]) for other in goods if other != one)
        near.append(sum(distances[:5]) / 5)
    weights = [distance**2 for distance in near]
    want = [weight * len(goods) / sum(weights) for weight in weights]
    assert pool.good_weight_N[goods].tolist() == pytest.approx(want)
    assert float(pool.bad_weight_N.sum()) == 1 + 4
    assert (
        joint(known, probabilities, features, novelty=0).good_weight_N[goods].tolist() == [1] * 10
    )


def test_without_a_bad_label_unlabelled_images_stand_for_the_bad() -> None:
    known = LabelledLatents(latents(2), torch.tensor([True, True]))
    pool = joint(known, torch.full((6,), 0.9), torch.rand(8, 3), novelty=3.0)
    assert pool.bad_weight_N.tolist() == [0, 0] + [1] * 6
    assert (pool.good_weight_N > 0).tolist() == [True, True] + [False] * 6


def test_prompts_are_ranked_by_themselves() -> None:
    """Prompt 0 has bad labels, prompt 1 none, prompt 2 no good one; 10 unlabelled images each."""
    known = LabelledLatents(
        latents(4), torch.tensor([True, False, True, False]), torch.tensor([0, 0, 1, 2])
    )
    groups = torch.arange(30) % 3
    batch = replace(numbers_as_latents(latents(30)), groups=groups)
    images = RankedImages(batch, torch.rand(30, 2), torch.full((30,), 0.5))
    pool = ranked_pool(known, JointImages(torch.rand(4, 2), [images], novelty=0))
    counts = [
        (
            int(pool.good_weight_N[4:][groups == each].sum()),
            int(pool.bad_weight_N[4:][groups == each].sum()),
        )
        for each in range(3)
    ]
    assert counts == [(3, 4), (0, 10), (0, 0)]
    assert pool.group_ids.tolist() == [0, 0, 1, 2, *groups.tolist()]
