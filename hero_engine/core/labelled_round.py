"""A round with its labels, and what later rounds keep of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.labels import Labels


@dataclass(frozen=True)
class Best:
    """The best image so far: its final latent z_0, and the initial noise z_T it came from."""

    latent_C_H_W: Tensor
    noise_C_H_W: Tensor


@dataclass(frozen=True)
class LabelledLatents:
    """Final latents of labelled images, (N, C, H, W) on the CPU, and which are good, (N,) bool."""

    latents_N_C_H_W: Tensor
    good_N: Tensor

    @classmethod
    def none(cls, latent_shape: tuple[int, ...]) -> Self:
        """No image yet."""
        return cls(torch.zeros(0, *latent_shape), torch.zeros(0, dtype=torch.bool))

    @classmethod
    def of(cls, batch: Batch, labels: Labels) -> Self:
        """The labelled images of a batch; unlabelled ones are left out."""
        known = [index for index, good in enumerate(labels.good) if good is not None]
        good = torch.tensor([bool(labels.good[index]) for index in known], dtype=torch.bool)
        return cls(batch.latents_B_C_H_W[known], good)

    def __len__(self) -> int:
        return len(self.good_N)

    def plus(self, later: LabelledLatents) -> Self:
        """These images, then the later ones."""
        return type(self)(
            torch.cat([self.latents_N_C_H_W, later.latents_N_C_H_W]),
            torch.cat([self.good_N, later.good_N]),
        )


@dataclass(frozen=True)
class LabelledRound:
    """The images of a round and their labels."""

    number: int
    batch: Batch
    labels: Labels

    @cached_property
    def known(self) -> LabelledLatents:
        """The labelled images."""
        return LabelledLatents.of(self.batch, self.labels)

    @property
    def best(self) -> Best | None:
        """The round's best image; None where it has none."""
        if self.labels.best is None:
            return None
        latent = self.batch.latents_B_C_H_W[self.labels.best].clone()
        return Best(latent, self.batch.noises_B_C_H_W[self.labels.best].clone())
