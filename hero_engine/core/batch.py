"""Images of a round as tensors. Letters in names give the axes.

B images, S denoising steps kept for training, C channels, H height and W width of a latent.
All tensors are on the CPU, so that a batch that waits for labels takes no GPU memory. Latents of
several sizes are padded: see `padding.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from hero_engine.core.padding import cut, padded


@dataclass(frozen=True)
class Trajectory:
    """The denoising steps x_t -> x_{t-1} drawn for training, out of those that made each image.

    timesteps_B_S: the process's own (int64 for DDIM, float64 for flows), in order (falling).
    prev_timesteps_B_S: the timestep each step goes to; the last one goes to 0 or below.
    latents_B_S_C_H_W, next_latents_B_S_C_H_W: x_t and the x_{t-1} that was drawn.
    log_probs_B_S: log density of next_latents when they were drawn, averaged over C, H, W.
    """

    timesteps_B_S: Tensor
    prev_timesteps_B_S: Tensor
    latents_B_S_C_H_W: Tensor
    next_latents_B_S_C_H_W: Tensor
    log_probs_B_S: Tensor

    FIELDS: ClassVar[tuple[str, ...]] = (
        "timesteps_B_S",
        "prev_timesteps_B_S",
        "latents_B_S_C_H_W",
        "next_latents_B_S_C_H_W",
        "log_probs_B_S",
    )

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, for safetensors."""
        return {name: getattr(self, name) for name in self.FIELDS}

    def _latents(self, change: Callable[[Tensor], Tensor]) -> "Trajectory":
        return replace(
            self,
            latents_B_S_C_H_W=change(self.latents_B_S_C_H_W),
            next_latents_B_S_C_H_W=change(self.next_latents_B_S_C_H_W),
        )

    def cut(self, shape: Sequence[int]) -> "Trajectory":
        """The steps without the padding of their latents: see `core/padding.py`."""
        return self._latents(lambda x: cut(x, shape))

    def padded(self, shape: Sequence[int]) -> "Trajectory":
        """The steps with their latents padded."""
        return self._latents(lambda x: padded(x, shape))

    def rows(self, images: Tensor) -> "Trajectory":
        """The steps of the images with these indices (int64)."""
        return Trajectory(**{name: tensor[images] for name, tensor in self.tensors().items()})

    def at(self, rows_R_2: Tensor) -> "Trajectory":
        """Single steps, (R, 1): each row is an image and which of its steps (int64)."""
        images, slots = rows_R_2.unbind(1)
        picked = {name: tensor[images, slots, None] for name, tensor in self.tensors().items()}
        return Trajectory(**picked)

    @property
    def every_row(self) -> Tensor:
        """The rows of `at` for every step of every image, in order: (B S, 2)."""
        images, steps = (torch.arange(size) for size in self.timesteps_B_S.shape)
        return torch.cartesian_prod(images, steps).view(-1, 2)


@dataclass(frozen=True)
class Batch:
    """Images of a round: their initial noises and final latents.

    noises_B_C_H_W: z_T, the initial noises; latents_B_C_H_W: z_0, the final latents.
    trajectory: None when no denoising step was kept. groups: each image's group, that is the number
    of its prompt, (B,) int64; None if all are of the first.
    """

    noises_B_C_H_W: Tensor
    latents_B_C_H_W: Tensor
    trajectory: Trajectory | None = None
    groups: Tensor | None = None

    def __len__(self) -> int:
        return self.latents_B_C_H_W.shape[0]

    @property
    def group_ids(self) -> Tensor:
        """The group of each image, (B,) int64."""
        return first_group(len(self)) if self.groups is None else self.groups

    def rows(self, images: Tensor) -> "Batch":
        """The images with these indices (int64)."""
        return Batch.from_tensors({name: each[images] for name, each in self.tensors().items()})

    def padded(self, shape: Sequence[int]) -> "Batch":
        """The batch with its noises and latents padded: see `padding.py`."""
        return replace(
            self,
            noises_B_C_H_W=padded(self.noises_B_C_H_W, shape),
            latents_B_C_H_W=padded(self.latents_B_C_H_W, shape),
            trajectory=None if self.trajectory is None else self.trajectory.padded(shape),
        )

    def some(self, rows: slice) -> "Batch":
        """The images of a range."""
        return Batch.from_tensors({name: each[rows] for name, each in self.tensors().items()})

    @classmethod
    def cat(cls, parts: Iterable["Batch"]) -> Self:
        """One batch of all parts, in order. ValueError if only some parts keep trajectories."""
        parts = list(parts)
        kept = [part.trajectory for part in parts if part.trajectory is not None]
        if kept and len(kept) != len(parts):
            raise ValueError("some parts of the batch kept their denoising steps, some did not")
        return cls(
            torch.cat([part.noises_B_C_H_W for part in parts]),
            torch.cat([part.latents_B_C_H_W for part in parts]),
            _cat_trajectories(kept) if kept else None,
            some_groups(torch.cat([part.group_ids for part in parts])),
        )

    def tensors(self) -> dict[str, Tensor]:
        """A flat dict for safetensors; `from_tensors` reads it back."""
        flat = {"noises_B_C_H_W": self.noises_B_C_H_W, "latents_B_C_H_W": self.latents_B_C_H_W}
        if self.trajectory is not None:
            flat |= {f"trajectory.{k}": v for k, v in self.trajectory.tensors().items()}
        if self.groups is not None:
            flat["groups_B"] = self.groups
        return {name: tensor.contiguous() for name, tensor in flat.items()}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> Self:
        """The batch that `tensors` wrote. KeyError if a tensor is missing."""
        trajectory = None
        if any(name.startswith("trajectory.") for name in flat):
            trajectory = Trajectory(**{k: flat[f"trajectory.{k}"] for k in Trajectory.FIELDS})
        groups = flat.get("groups_B")
        return cls(flat["noises_B_C_H_W"], flat["latents_B_C_H_W"], trajectory, groups)


def first_group(images: int) -> Tensor:
    """The group of images that all are of the first prompt: zeros, (images,) int64."""
    return torch.zeros(images, dtype=torch.int64)


def distinct(group_ids: Tensor) -> list[int]:
    """The groups that occur, in order."""
    return sorted({*group_ids.tolist()})


def some_groups(group_B: Tensor) -> Tensor | None:
    """The groups; None if all images are of the first, so that such files stay as they were."""
    return group_B if bool(group_B.any()) else None


def _cat_trajectories(parts: list[Trajectory]) -> Trajectory:
    return Trajectory(
        **{k: torch.cat([getattr(part, k) for part in parts]) for k in Trajectory.FIELDS}
    )
