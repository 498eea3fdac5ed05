"""A round with its labels, and what later rounds keep of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from hero_engine.core.batch import Batch, first_group, some_groups
from hero_engine.core.labels import Labels


@dataclass(frozen=True)
class Best:
    """A prompt's best image so far: its final latent z_0, and the noise z_T it came from."""

    latent_C_H_W: Tensor
    noise_C_H_W: Tensor


@dataclass(frozen=True)
class LabelledLatents:
    """Final latents of labelled images, (N, C, H, W) on the CPU, and which are good, (N,) bool.

    groups: the number of each one's prompt, (N,) int64; None if all are of the first.
    """

    latents_N_C_H_W: Tensor
    good_N: Tensor
    groups: Tensor | None = None

    @classmethod
    def none(cls, latent_shape: tuple[int, ...]) -> Self:
        """No image yet."""
        return cls(torch.zeros(0, *latent_shape), torch.zeros(0, dtype=torch.bool))

    @classmethod
    def of(cls, batch: Batch, labels: Labels) -> Self:
        """The labelled images of a batch; unlabelled ones are left out."""
        known = [index for index, good in enumerate(labels.good) if good is not None]
        good = torch.tensor([bool(labels.good[index]) for index in known], dtype=torch.bool)
        return cls(batch.latents_B_C_H_W[known], good, some_groups(batch.group_ids[known]))

    def __len__(self) -> int:
        return len(self.good_N)

    @property
    def group_ids(self) -> Tensor:
        """The group of each image, (N,) int64."""
        return first_group(len(self)) if self.groups is None else self.groups

    def of_group(self, group: int) -> Self:
        """The images of one prompt."""
        own = self.group_ids == group
        return type(self)(self.latents_N_C_H_W[own], self.good_N[own], self.group_ids[own])

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, for safetensors."""
        groups = {} if self.groups is None else {"groups": self.groups}
        return {"latents_N_C_H_W": self.latents_N_C_H_W, "good_N": self.good_N, **groups}

    def plus(self, later: LabelledLatents) -> Self:
        """These images, then the later ones."""
        return type(self)(
            torch.cat([self.latents_N_C_H_W, later.latents_N_C_H_W]),
            torch.cat([self.good_N, later.good_N]),
            some_groups(torch.cat([self.group_ids, later.group_ids])),
        )


@dataclass(frozen=True)
class LabelledRound:
    """The images of a round and their labels.

    imported: labelled pictures from elsewhere that are learned from in this round.
    """

    number: int
    batch: Batch
    labels: Labels
    imported: LabelledLatents | None = None

    @cached_property
    def known(self) -> LabelledLatents:
        """The labelled images, then the imported ones."""
        return self.own if self.imported is None else self.own.plus(self.imported)

    @cached_property
    def own(self) -> LabelledLatents:
        """The labelled images."""
        return LabelledLatents.of(self.batch, self.labels)

    @property
    def bests(self) -> Mapping[int, Best]:
        """The best image of each group that has one."""
        return {int(self.batch.group_ids[image]): self._best(image) for image in self.labels.bests}

    def _best(self, image: int) -> Best:
        latent = self.batch.latents_B_C_H_W[image].clone()
        return Best(latent, self.batch.noises_B_C_H_W[image].clone())
