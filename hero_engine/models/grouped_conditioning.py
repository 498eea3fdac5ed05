"""Predictions on images of several prompts: each is conditioned on the prompt of its group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from hero_engine.core.batch import distinct
from hero_engine.models.conditioning import Conditioning

if TYPE_CHECKING:
    from hero_engine.config.settings import SamplerSettings
    from hero_engine.models.pipeline import Model

Prompts = str | Sequence[str]
"""One prompt, or the prompts of all groups in order."""


@dataclass(frozen=True)
class GroupedConditioning:
    """The conditioning of each group."""

    of_group: tuple[Conditioning, ...]

    @classmethod
    def plain(cls, prompts: Prompts) -> Self:
        """Without classifier-free guidance."""
        return cls(tuple(map(Conditioning, texts_of(prompts))))

    @classmethod
    def of_sampler(cls, prompts: Prompts, sampler: SamplerSettings) -> Self:
        """As the sampler draws pictures of these prompts."""
        return cls(tuple(Conditioning.of_sampler(each, sampler) for each in texts_of(prompts)))

    def predict(
        self, model: Model, x_t_R_C_H_W: Tensor, timesteps_R: Tensor, group_R: Tensor | None = None
    ) -> Tensor:
        """The model's prediction on each row, see `Model.predict`. None: all of the first group.

        Rows of one prompt are one call of the pipeline; rows of several are one call a prompt.
        """
        groups = [0] if group_R is None else distinct(group_R)
        if group_R is None or len(groups) == 1:
            return model.predict(x_t_R_C_H_W, timesteps_R, self.of_group[groups[0]])
        places = [(group_R == group).nonzero().flatten() for group in groups]
        parts = [
            model.predict(
                x_t_R_C_H_W[rows.to(x_t_R_C_H_W.device)],
                timesteps_R[rows.to(timesteps_R.device)],
                self.of_group[group],
            )
            for group, rows in zip(groups, places, strict=True)
        ]
        return torch.cat(parts)[torch.cat(places).argsort().to(x_t_R_C_H_W.device)]


def texts_of(prompts: Prompts) -> Sequence[str]:
    """The prompts of all groups."""
    return (prompts,) if isinstance(prompts, str) else prompts
