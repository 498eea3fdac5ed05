"""The layout of a pipeline's latents: a grid, or tokens of a grid.

Everything outside the driver sees (C, H, W). Transformers on patches keep tokens (L, D), one a
patch, row by row; a patch of 2 x 2 latent pixels is taken apart, since a learned representation
needs places, not channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Self

from torch import Tensor

PATCH = 2


@dataclass(frozen=True)
class LatentLayout:
    """own: a latent's shape in the pipeline. shape: the same as (C, H, W). patch: 0 for a grid."""

    own: tuple[int, ...]
    shape: tuple[int, int, int]
    patch: int = 0

    @classmethod
    def of(cls, own: tuple[int, ...], height: int, width: int) -> Self:
        """The layout of latents of a picture of this size. ValueError if it is none of these."""
        grid = tuple(side for side in own[:-2] if side != 1) + own[-2:]
        if len(own) >= 3 and len(grid) == 3:
            if height % grid[1] or width % grid[2] or height // grid[1] != width // grid[2]:
                raise ValueError(f"its latents are {grid[1]} x {grid[2]}")
            return cls(own, (grid[0], grid[1], grid[2]))
        if len(own) != 2:
            raise ValueError(f"latents of shape {own} are neither a grid nor tokens")
        tokens, width_of_token = own
        rows = isqrt(tokens * height // width)
        if rows == 0 or tokens % rows or rows * width != (tokens // rows) * height:
            raise ValueError(f"{tokens} tokens do not cover a picture of {height} x {width} pixels")
        patch = PATCH if width_of_token % PATCH**2 == 0 else 1
        channels = width_of_token // patch**2
        return cls(own, (channels, rows * patch, tokens // rows * patch), patch)

    def pack(self, x_B_C_H_W: Tensor) -> Tensor:
        """As the pipeline has it: (B, L, D) tokens, or its own grid."""
        if not self.patch:
            return x_B_C_H_W.reshape(-1, *self.own)
        (C, H, W), p = self.shape, self.patch
        blocks = x_B_C_H_W.reshape(-1, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5)
        return blocks.reshape(-1, *self.own)

    def unpack(self, x: Tensor) -> Tensor:
        """What `pack` packed: (B, C, H, W)."""
        if not self.patch:
            return x.reshape(-1, *self.shape)
        (C, H, W), p = self.shape, self.patch
        blocks = x.reshape(-1, H // p, W // p, C, p, p).permute(0, 3, 1, 4, 2, 5)
        return blocks.reshape(-1, *self.shape)
