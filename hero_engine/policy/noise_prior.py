"""The prior over initial noises: Feedback-Guided Image Generation (paper, section 4.3).

Round 0 draws z_T from N(0, I). Later rounds draw near the recorded noises of the best picture and
of the other good ones: z = sqrt(1 - e^2) z_T + e n, which keeps the variance at one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.batch import Batch
from hero_engine.core.labels import Labels
from hero_engine.core.rng import generator


@dataclass(frozen=True)
class NoisePrior:
    """A Gaussian mixture around recorded noises; empty parts mean N(0, I).

    best_C_H_W: z_T of the best picture so far. goods_N_C_H_W: z_T of the last round's other goods.
    """

    best_C_H_W: Tensor | None = None
    goods_N_C_H_W: Tensor | None = None

    @property
    def guided(self) -> bool:
        """Whether anything but fresh noise comes out."""
        return self.best_C_H_W is not None or self.goods_N_C_H_W is not None

    def draw(
        self, count: int, shape: Sequence[int], settings: NoiseSettings, seed: int, round: int
    ) -> Tensor:
        """Noises (count, *shape) in a fixed order: best's share, the goods', the fresh share.

        Fresh are the last `fresh_ratio` of the batch; of the rest, the first `best_image_ratio`
        lies around the best noise and the others around goods, one drawn evenly for each image. The
        share of a part that is missing is drawn fresh. With nothing recorded all is N(0, I).
        """
        guided = count - round_half_up(settings.fresh_ratio * count)
        around_best = round_half_up(settings.best_image_ratio * guided)
        noises = []
        for index in range(count):
            random = generator(seed, "noise", round, index)
            fresh = torch.randn(tuple(shape), generator=random)
            centre = self._centre(index < around_best, random) if index < guided else None
            noises.append(fresh if centre is None else _near(centre, fresh, settings.perturbation))
        return torch.stack(noises)

    def _centre(self, around_best: bool, random: torch.Generator) -> Tensor | None:
        if around_best:
            return self.best_C_H_W
        if self.goods_N_C_H_W is None:
            return None
        pick = torch.randint(len(self.goods_N_C_H_W), (1,), generator=random)
        return self.goods_N_C_H_W[int(pick)]

    def updated(
        self, batch: Batch, labels: Labels, carried_best_C_H_W: Tensor | None = None
    ) -> "NoisePrior":
        """The prior after a round's labels.

        Best carries over (`carried_best_C_H_W` where given, else this prior's own) when the round
        names none; the goods are always this round's, so a round without goods leaves their share
        fresh, and a run that never saw a good one stays at N(0, I).
        """
        best = self.best_C_H_W if carried_best_C_H_W is None else carried_best_C_H_W
        if labels.best is not None:
            best = batch.noises_B_C_H_W[labels.best].clone()
        others = list(labels.others)
        goods = batch.noises_B_C_H_W[others].clone() if others else None
        return NoisePrior(best, goods)

    def tensors(self) -> dict[str, Tensor]:
        """The recorded noises, for safetensors; empty for N(0, I)."""
        parts = {"best_C_H_W": self.best_C_H_W, "goods_N_C_H_W": self.goods_N_C_H_W}
        return {name: part for name, part in parts.items() if part is not None}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> Self:
        """The prior that `tensors` wrote."""
        return cls(flat.get("best_C_H_W"), flat.get("goods_N_C_H_W"))


FRESH = NoisePrior()


def round_half_up(number: float) -> int:
    """Nearest whole number; a half goes up, so half of 5 images is 3, as the best's share."""
    return int(number + 0.5)


def _near(centre: Tensor, fresh: Tensor, perturbation: float) -> Tensor:
    return sqrt(1 - perturbation**2) * centre + perturbation * fresh
