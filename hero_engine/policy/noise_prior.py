"""The prior over initial noises: Feedback-Guided Image Generation (paper, section 4.3).

Round 0 draws z_T from N(0, I). Later rounds draw around the recorded noises of the best image and
of the other good images: z = sqrt(1 - e^2) z_T + e n with n ~ N(0, I), which keeps the variance.

What differs from sony/hero: `best_image_ratio` of the batch is rounded, a half up; theirs is
rounded up. At the default of one half the two agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.labelled_round import LabelledRound
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

    def draw(
        self, count: int, shape: Sequence[int], settings: NoiseSettings, seed: int, round: int
    ) -> Tensor:
        """Noises (count, *shape), in the order of `noise_origins`.

        An image whose origin is "good" is drawn around one of the goods, drawn uniformly.
        """
        best, goods = self.best_C_H_W is not None, self.goods_N_C_H_W is not None
        noises = []
        for index, origin in enumerate(noise_origins(count, settings, best=best, goods=goods)):
            random = generator(seed, "noise", round, index)
            fresh = torch.randn(tuple(shape), generator=random)
            centre = self._centre(origin, random)
            noises.append(fresh if centre is None else _near(centre, fresh, settings.perturbation))
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


def good_noises(round: LabelledRound) -> Tensor | None:
    """z_T of the round's good images without the best, (N, C, H, W); None where there are none.

    The next round draws around these alone: after a round without goods their share is fresh.
    """
    others = list(round.labels.others)
    return round.batch.noises_B_C_H_W[others].clone() if others else None


def shared_noises(noises_B_C_H_W: Tensor, images: int) -> Tensor:
    """Each noise for this many images in turn: the first of every group, in the same order."""
    first = torch.arange(len(noises_B_C_H_W)) // images * images
    return noises_B_C_H_W[first]


def _near(centre: Tensor, fresh: Tensor, perturbation: float) -> Tensor:
    return sqrt(1 - perturbation**2) * centre + perturbation * fresh
