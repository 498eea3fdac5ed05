"""The prior over initial noises: Feedback-Guided Image Generation (paper, section 4.3).

Round 0 draws z_T from N(0, I). Later rounds draw around the recorded noises of the best image and
of the other good images: z = sqrt(1 - e^2) z_T + e n with n ~ N(0, I), which keeps the variance.

What differs from sony/hero: `best_image_ratio` of the batch is rounded, a half up; theirs is
rounded up. At the default of one half the two agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.padding import cut, padded
from hero_engine.core.rng import generator
from hero_engine.policy.noise_origins import Origin, noise_origins


@dataclass(frozen=True)
class NoisePrior:
    """A Gaussian mixture around recorded noises; without any it is N(0, I).

    best_C_H_W: z_T of the best image so far. goods_N_C_H_W: z_T of the last round's other goods.
    """

    best_C_H_W: Tensor | None = None
    goods_N_C_H_W: Tensor | None = None

    @property
    def guided(self) -> bool:
        """Whether the prior differs from N(0, I)."""
        return self.best_C_H_W is not None or self.goods_N_C_H_W is not None

    def origins(self, count: int, settings: NoiseSettings) -> tuple[Origin, ...]:
        """Where the noises of this many images are drawn: see `noise_origins`."""
        best, goods = self.best_C_H_W is not None, self.goods_N_C_H_W is not None
        return noise_origins(count, settings, best=best, goods=goods)

    def draw(
        self, count: int, shape: Sequence[int], settings: NoiseSettings, seed: int, round: int
    ) -> Tensor:
        """Noises (count, *shape) of the images 0 to count - 1: see `draw_images`."""
        return self.draw_images(range(count), shape, settings, seed, round)

    def draw_images(
        self,
        images: Sequence[int],
        shape: Sequence[int],
        settings: NoiseSettings,
        seed: int,
        round: int,
    ) -> Tensor:
        """Noises of these images of a round, in the order of `noise_origins`.

        An image whose origin is "good" is drawn around one of the goods, drawn uniformly. Returns
        (len(images), *shape).
        """
        noises = []
        for image, origin in zip(images, self.origins(len(images), settings), strict=True):
            random = generator(seed, "noise", round, image)
            fresh = torch.randn(tuple(shape), generator=random)
            centre = self._centre(origin, random)
            if centre is not None:
                fresh = _near(cut(centre, shape), fresh, settings.perturbation)
            noises.append(fresh)
        return torch.stack(noises)

    def _centre(self, origin: Origin, random: torch.Generator) -> Tensor | None:
        if origin == "best":
            return self.best_C_H_W
        if origin == "fresh" or self.goods_N_C_H_W is None:
            return None
        pick = torch.randint(len(self.goods_N_C_H_W), (1,), generator=random)
        return self.goods_N_C_H_W[int(pick)]

    def tensors(self) -> dict[str, Tensor]:
        """The recorded noises, for safetensors; empty for N(0, I)."""
        parts = {"best_C_H_W": self.best_C_H_W, "goods_N_C_H_W": self.goods_N_C_H_W}
        return {name: part for name, part in parts.items() if part is not None}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> Self:
        """The prior that `tensors` wrote."""
        return cls(flat.get("best_C_H_W"), flat.get("goods_N_C_H_W"))


FRESH = NoisePrior()
"""N(0, I)."""


@dataclass(frozen=True)
class GroupPriors:
    """The noise prior of each prompt, by group; one that is missing is N(0, I)."""

    by_group: Mapping[int, NoisePrior] = field(default_factory=dict)

    @property
    def guided(self) -> bool:
        """Whether any of them differs from N(0, I)."""
        return any(prior.guided for prior in self.by_group.values())

    def origins(self, groups: Sequence[int], settings: NoiseSettings) -> list[Origin]:
        """Where the noises of a round whose images have these groups are drawn."""
        found: list[Origin] = ["fresh"] * len(groups)
        for group in {*groups}:
            images = [image for image, own in enumerate(groups) if own == group]
            for image, origin in zip(
                images, self.of(group).origins(len(images), settings), strict=True
            ):
                found[image] = origin
        return found

    def of(self, group: int) -> NoisePrior:
        """The prior of one prompt."""
        return self.by_group.get(group, FRESH)

    def draw(
        self,
        groups: Sequence[int],
        shapes: Sequence[Sequence[int]],
        settings: NoiseSettings,
        seed: int,
        round: int,
    ) -> Tensor:
        """Noises of a round whose images have these groups, padded to the largest: (B, C, H, W).

        shapes: (C, H, W) of each group. The shares of `NoisePrior.draw_images` are those of each
        group's images.
        """
        canvas = [max(sides) for sides in zip(*shapes, strict=True)]
        noises = dict[int, Tensor]()
        for group in {*groups}:
            images = [image for image, own in enumerate(groups) if own == group]
            drawn = self.of(group).draw_images(images, shapes[group], settings, seed, round)
            noises |= zip(images, padded(drawn, canvas), strict=True)
        return torch.stack([noises[image] for image in range(len(groups))])

    def tensors(self) -> dict[str, Tensor]:
        """The recorded noises, for safetensors; a group above 0 has its number in the name."""
        return {
            group_name(name, group): noise
            for group, prior in self.by_group.items()
            for name, noise in prior.tensors().items()
        }

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> Self:
        """The priors that `tensors` wrote."""
        groups = dict[int, dict[str, Tensor]]()
        for name, noise in flat.items():
            stem, group = named_group(name)
            groups.setdefault(group, {})[stem] = noise
        return cls({group: NoisePrior.from_tensors(part) for group, part in groups.items()})


def group_name(name: str, group: int) -> str:
    """The name of a group's tensor in a file; the first group's has no number."""
    return f"{name}.{group}" if group else name


def named_group(name: str) -> tuple[str, int]:
    """Name and group that `group_name` joined."""
    stem, _, group = name.partition(".")
    return stem, int(group or 0)


def good_noises(round: LabelledRound) -> dict[int, Tensor]:
    """z_T of the good images without the best, (N, C, H, W), by group; none where there are none.

    The next round draws around these alone: after a round without goods their share is fresh.
    """
    group_B, found = round.batch.group_ids, dict[int, Tensor]()
    for group in {int(group_B[image]) for image in round.labels.others}:
        others = [image for image in round.labels.others if group_B[image] == group]
        found[group] = round.batch.noises_B_C_H_W[others].clone()
    return found


def shared_noises(
    noises_B_C_H_W: Tensor, images: int, shapes: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """Each noise for this many images in turn: that of the first, in the same order.

    shapes: of each image's latents, where they differ; a noise is shared by images of one shape.
    """
    first = (torch.arange(len(noises_B_C_H_W)) // images * images).tolist()
    if shapes is not None:
        known: dict[tuple[int, ...], int] = {}
        for image, shape in enumerate(shapes):
            first[image] = known.setdefault((first[image], *shape), image)
    return noises_B_C_H_W[first]


def _near(centre: Tensor, fresh: Tensor, perturbation: float) -> Tensor:
    return sqrt(1 - perturbation**2) * centre + perturbation * fresh
