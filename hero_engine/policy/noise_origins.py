"""Where each picture's initial noise comes from. Imports no torch: the app uses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.labels import Labels

Origin = Literal["fresh", "best", "good"]
"""Drawn from N(0, I), near the noise of the best picture, or near that of another good one."""


def noise_origins(
    count: int, settings: NoiseSettings, *, best: bool, goods: bool
) -> tuple[Origin, ...]:
    """The origin of each picture's noise in a round of `count`: around the best, the goods, fresh.

    The last `fresh_ratio` of the round is fresh. Of the others the first `best_image_ratio` lies
    around the best noise, the rest around goods. A part without a recorded noise is fresh.
    best, goods: whether a noise of a best picture, and of other good ones, was recorded.
    """
    guided = count - _round_half_up(settings.fresh_ratio * count)
    around_best = _round_half_up(settings.best_image_ratio * guided)

    def origin(index: int) -> Origin:
        if index < around_best:
            return "best" if best else "fresh"
        return "good" if index < guided and goods else "fresh"

    return tuple(map(origin, range(count)))


@dataclass(frozen=True)
class KnownNoises:
    """The prompts of which a noise is recorded: of a best picture, and of other good ones."""

    bests: frozenset[int] = frozenset()
    goods: frozenset[int] = frozenset()

    def after(self, labels: Labels, groups: Sequence[int]) -> KnownNoises:
        """What is recorded after one more round, by its labels as learned.

        groups: the prompts of its pictures.
        """
        good = {groups[image] for image in labels.goods}
        others = {groups[image] for image in labels.others}
        return KnownNoises(self.bests | good, self.goods - {*groups} | others)

    def origins(self, groups: Sequence[int], settings: NoiseSettings) -> tuple[Origin, ...]:
        """The origins of the noises of a round whose pictures have these prompts.

        The shares are those of each prompt's pictures.
        """
        origins: list[Origin] = ["fresh"] * len(groups)
        for group in {*groups}:
            images = [image for image, own in enumerate(groups) if own == group]
            own = noise_origins(
                len(images), settings, best=group in self.bests, goods=group in self.goods
            )
            for image, origin in zip(images, own, strict=True):
                origins[image] = origin
        return tuple(origins)


def mixed_order(kinds: Sequence[Hashable]) -> list[int]:
    """Indices in an order in which every stretch has each kind in about its share of the whole.

    Those of one kind stay in their order; a single kind gives 0, 1, 2, ...
    """
    left = {kind: deque(i for i, each in enumerate(kinds) if each == kind) for kind in kinds}
    share = {kind: len(indices) for kind, indices in left.items()}
    owed, order = dict.fromkeys(left, 0), list[int]()
    for _ in kinds:
        owed = {kind: owed[kind] + share[kind] for kind in owed}
        kind = max((kind for kind in left if left[kind]), key=lambda each: owed[each])
        owed[kind] -= len(kinds)
        order.append(left[kind].popleft())
    return order


def mixed_by_prompt(origins: Sequence[Origin], groups: Sequence[int] = ()) -> list[int]:
    """Pictures as pages show them and as they are drawn: guided ones between fresh ones.

    groups: the numbers of the pictures' prompts. Where they come prompt by prompt, this does too.
    """
    if list(groups) != sorted(groups):
        return mixed_order(origins)
    order = list[int]()
    for _, places in groupby(range(len(origins)), lambda place: groups[place] if groups else 0):
        own = list(places)
        order += [own[place] for place in mixed_order([origins[place] for place in own])]
    return order


def _round_half_up(number: float) -> int:
    """The nearest whole number; a half rounds up, so that half of 5 images is 3."""
    return int(number + 0.5)
