"""Generators named by purpose, round and index."""

import itertools

import torch

from hero_engine.core.rng import generator, normal_each


def test_same_name_same_stream() -> None:
    first = torch.randn(5, generator=generator(1, "step", 2, 3))
    assert torch.equal(first, torch.randn(5, generator=generator(1, "step", 2, 3)))


def test_every_part_of_the_name_matters() -> None:
    names = itertools.product((0, 1), ("noise", "step"), (0, 1, 12), (0, 1, 12))
    draws = {float(torch.randn(1, generator=generator(*name))) for name in names}
    assert len(draws) == 36


def test_streams_of_neighbours_are_independent_normals() -> None:
    many = normal_each([generator(0, "noise", 0, i) for i in range(400)], (50,))
    assert abs(float(many.mean())) < 0.03
    assert abs(float(many.std()) - 1) < 0.02
    neighbours = (many[:-1] * many[1:]).mean()
    assert abs(float(neighbours)) < 0.03
