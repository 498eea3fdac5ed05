"""Predictions on images of several groups: each has its prompt, its size and its input picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from hero_engine.config.prompts import Group
from hero_engine.core.batch import distinct, first_group
from hero_engine.core.padding import cut, padded
from hero_engine.models.conditioning import Conditioning

if TYPE_CHECKING:
    from hero_engine.config.settings import SamplerSettings
    from hero_engine.models.pipeline import Model

Prompts = str | Sequence[str | Group]
"""One prompt, or what all groups are drawn from, in order."""


class SizedRows(Protocol):
    """Rows of several sizes, padded. groups: the group of each, (R,); None: all of the first."""

    @property
    def groups(self) -> Tensor | None:
        """The group of each row."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, which: Tensor) -> Self:
        """The rows with these indices (int64)."""
        ...

    def cut(self, shape: Sequence[int]) -> Self:
        """The rows without their padding."""
        ...


RowsOfSizes = TypeVar("RowsOfSizes", bound=SizedRows)

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""(B, H, W, 3); of several sizes, padded as latents are."""


@dataclass(frozen=True)
class GroupedConditioning:
    """The conditioning of each group."""

    of_group: tuple[Conditioning, ...]

    @classmethod
    def plain(cls, prompts: Prompts) -> Self:
        """Without classifier-free guidance."""
        return cls(tuple(map(Conditioning.plain, texts_of(prompts))))

    @classmethod
    def of_sampler(cls, prompts: Prompts, sampler: SamplerSettings) -> Self:
        """As the sampler draws pictures of these prompts."""
        return cls(tuple(Conditioning.of_sampler(each, sampler) for each in texts_of(prompts)))

    def predict(
        self, model: Model, x_t_R_C_H_W: Tensor, timesteps_R: Tensor, group_R: Tensor | None = None
    ) -> Tensor:
        """The model's prediction on each row, see `Model.predict`. None: all of the first group.

        Rows of one group are one call of the pipeline; rows of several are one call a group. Each
        is predicted in its own size, and the result padded as the rows are.
        """
        groups = [0] if group_R is None else distinct(group_R)
        if group_R is None or len(groups) == 1:
            return self._predict(model, x_t_R_C_H_W, timesteps_R, groups[0])
        places = [(group_R == group).nonzero().flatten() for group in groups]
        parts = [
            self._predict(
                model,
                x_t_R_C_H_W[rows.to(x_t_R_C_H_W.device)],
                timesteps_R[rows.to(timesteps_R.device)],
                group,
            )
            for group, rows in zip(groups, places, strict=True)
        ]
        return torch.cat(parts)[torch.cat(places).argsort().to(x_t_R_C_H_W.device)]

    def _predict(self, model: Model, x_t: Tensor, timesteps_R: Tensor, group: int) -> Tensor:
        conditioning, own = self.of_group[group], self.model(model, group)
        if not self.has_sizes:
            return own.predict(x_t, timesteps_R, conditioning)
        output = own.predict(cut(x_t, own.latent_shape), timesteps_R, conditioning)
        return padded(output, x_t.shape)

    def model(self, model: Model, group: int) -> Model:
        """The model, for images of this group's size and input picture."""
        own = self.of_group[group]
        return model if own.size is None and not own.image else model.drawing(own)

    def every_model(self, model: Model) -> list[Model]:
        """The model, for each group."""
        return [self.model(model, group) for group in range(len(self.of_group))]

    @property
    def has_sizes(self) -> bool:
        """Whether the groups have several sizes, so that latents are padded."""
        return len({each.size for each in self.of_group}) > 1

    def by_size(
        self, model: Model, group_R: Tensor | None
    ) -> Iterator[tuple[Model, Tensor | None]]:
        """For each size of the rows: the model for it, and the places of its rows (int64).

        None in place of the places of all rows, where they have one size.
        """
        if not self.has_sizes:
            yield self.model(model, 0), None
            return
        groups = [0] if group_R is None else distinct(group_R)
        by_size = dict[Any, list[int]]()
        for group in groups:
            by_size.setdefault(self.of_group[group].size, []).append(group)
        for own in by_size.values():
            sized = self.model(model, own[0])
            if len(by_size) == 1 or group_R is None:
                yield sized, None
            else:
                yield sized, torch.isin(group_R, torch.tensor(own)).nonzero().flatten()

    def mean_by_size(
        self,
        model: Model,
        rows: RowsOfSizes,
        loss: Callable[[Model, RowsOfSizes], Tensor],
    ) -> Tensor:
        """The mean loss of the rows, computed for each size by itself."""
        parts = list(self.by_size(model, rows.groups))
        if not self.has_sizes:
            return loss(parts[0][0], rows)
        if len(parts) == 1:
            return loss(parts[0][0], rows.cut(parts[0][0].latent_shape))
        means = [
            loss(sized, rows[places].cut(sized.latent_shape)) * (len(places) / len(rows))
            for sized, places in parts
            if places is not None
        ]
        return torch.stack(means).sum()

    def decode(self, model: Model, latents_B_C_H_W: Tensor, group_B: Tensor | None) -> Pixels:
        """Pictures of final latents, each in its own size, padded to the largest of all groups."""
        groups = first_group(len(latents_B_C_H_W)) if group_B is None else group_B
        if not self.has_sizes:
            return self.model(model, 0).decode(latents_B_C_H_W)
        height, width = self.canvas(model)
        pixels = np.zeros((len(latents_B_C_H_W), height, width, 3), np.uint8)
        for sized, places in self.by_size(model, groups):
            where = torch.arange(len(groups)) if places is None else places
            made = sized.decode(cut(latents_B_C_H_W[where], sized.latent_shape))
            pixels[where.numpy(), : made.shape[1], : made.shape[2]] = made
        return pixels

    def own(self, model: Model, pixels_H_W_3: Pixels, group: int) -> Pixels:
        """A picture of the group without its padding."""
        height, width = self.model(model, group).picture_size if self.has_sizes else (None, None)
        return pixels_H_W_3[:height, :width]

    def canvas(self, model: Model) -> tuple[int, int]:
        """Height and width that every group's pictures fit into."""
        sizes = [each.picture_size for each in self.every_model(model)]
        return max(height for height, _ in sizes), max(width for _, width in sizes)

    def latent_shape(self, model: Model) -> tuple[int, int, int]:
        """The shape that every group's latents fit into."""
        shapes = [each.latent_shape for each in self.every_model(model)]
        return shapes[0][0], max(shape[1] for shape in shapes), max(shape[2] for shape in shapes)


def texts_of(prompts: Prompts) -> Sequence[str | Group]:
    """What each group is drawn from."""
    return (prompts,) if isinstance(prompts, str) else prompts
