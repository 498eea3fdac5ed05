"""Latents of several sizes in one tensor: padded with zeros, at the right and at the bottom.

A run with one size pads nothing. What computes on latents cuts them to their own size first.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def cut(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The first rows and columns, as many as the last two numbers of the shape say."""
    height, width = shape[-2:]
    return x if tuple(x.shape[-2:]) == (height, width) else x[..., :height, :width]


def padded(x: Tensor, shape: Sequence[int]) -> Tensor:
    """With zeros, up to the height and width that the last two numbers of the shape say."""
    height, width = shape[-2:]
    if tuple(x.shape[-2:]) == (height, width):
        return x
    return functional.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
