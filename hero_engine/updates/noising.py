"""Images noised for the losses that train denoising itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hero_engine.core.batch import distinct
from hero_engine.core.padding import cut
from hero_engine.models.pipeline import Model
from hero_engine.updates.label_pool import Pool
from hero_engine.updates.lessons import UpdateId


@dataclass(frozen=True)
class NoisedRows:
    """Images noised to random timesteps; good_R says which count as good. Timesteps on the CPU.

    clean, x_t, noise: (R, C, H, W), where x_t is `clean` noised by `noise`. groups: the number of
    each row's prompt, (R,) int64 on the CPU; None where all are of the first.
    """

    clean: Tensor
    good_R: Tensor
    timesteps_R: Tensor
    x_t: Tensor
    noise: Tensor
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, which: Tensor) -> NoisedRows:
        """The rows with these indices (int64)."""
        parts = (self.clean, self.good_R, self.timesteps_R, self.x_t, self.noise)
        groups = None if self.groups is None else self.groups[which]
        clean, good_R, timesteps_R, x_t, noise = (part[which.to(part.device)] for part in parts)
        return NoisedRows(clean, good_R, timesteps_R, x_t, noise, groups)

    def cut(self, shape: Sequence[int]) -> NoisedRows:
        """The rows without the padding of their latents: see `core/padding.py`."""
        clean, x_t, noise = (cut(each, shape) for each in (self.clean, self.x_t, self.noise))
        return replace(self, clean=clean, x_t=x_t, noise=noise)


@dataclass(frozen=True)
class RowSampler:
    """Draws the rows of an optimizer step from a pool, with repeats.

    goods, bads: rows of each kind. window: the part of the schedule that images are noised to, 0
    clean, 1 pure noise. Timesteps are stratified: one in each of the window's equal parts.
    """

    model: Model
    goods: int
    bads: int
    window: tuple[float, float] = (0.0, 1.0)

    def draw(self, pool: Pool, update_id: UpdateId, index: int) -> NoisedRows:
        """The rows of the optimizer step with this index; the good ones come first.

        The groups of the pool take turns, so that no prompt's share of good images leads the
        others. In a group each image is drawn in proportion to its weight.
        """
        random = update_id.generator("update", index)
        goods = _draw(pool, pool.good_weight_N, self.goods, index, random)
        bads = _draw(pool, pool.bad_weight_N, self.bads, index, random)
        drawn = torch.cat([goods, bads])
        clean = pool.latents_N_C_H_W[drawn].to(self.model.device)
        timesteps = torch.cat(
            [self._timesteps(len(goods), random), self._timesteps(len(bads), random)]
        )
        x_t, noise = noised(self.model, clean, timesteps, update_id.generator("renoise", index))
        good_R = torch.arange(len(clean), device=self.model.device) < len(goods)
        groups = None if pool.groups is None else pool.groups[drawn]
        return NoisedRows(clean, good_R, timesteps, x_t, noise, groups)

    def _timesteps(self, count: int, random: torch.Generator) -> Tensor:
        low, high = self.window
        share = (torch.arange(count) + torch.rand(count, generator=random)) / max(count, 1)
        return self.model.process.timesteps_at(low + (high - low) * share)


def noised(
    model: Model, clean_B_C_H_W: Tensor, timesteps_B: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(x_t, n): the images as the model's process noises them, n ~ N(0, I)."""
    noise = torch.randn(clean_B_C_H_W.shape, generator=random, dtype=clean_B_C_H_W.dtype)
    noise = noise.to(clean_B_C_H_W.device)
    return model.process.noised(clean_B_C_H_W, noise, timesteps_B), noise


def _draw(pool: Pool, weights_N: Tensor, count: int, turn: int, random: torch.Generator) -> Tensor:
    """`count` indices of the pool, one of each group in turn, with repeats; none without weights.

    Within a group they are drawn in proportion to the weights. turn: moves the group that is first.
    """
    group_N = pool.group_ids
    taught = pool.taught or distinct(group_N)
    groups = [group for group in taught if bool((weights_N[group_N == group] > 0).any())]
    drawn = torch.zeros(count if groups else 0, dtype=torch.int64)
    for place, group in enumerate(groups):
        own = (group_N == group).nonzero().flatten()
        rows = (torch.arange(count) + turn) % len(groups) == place
        if bool(rows.any()):
            picked = torch.multinomial(
                weights_N[own], int(rows.sum()), replacement=True, generator=random
            )
            drawn[rows] = own[picked]
    return drawn
