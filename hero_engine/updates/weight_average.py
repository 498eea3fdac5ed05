"""The exponential moving average of the LoRA weights over an update's steps (not in the paper).

The first steps of an update would stay in a slow average for long, so the decay of step k = 0, 1,
... is at most (k + 1) / (k + 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class WeightAverage:
    """Follows weights from their values now. decay: in 0..1; 0 ends with the last weights."""

    def __init__(self, weights: Sequence[nn.Parameter], decay: float) -> None:
        self._weights, self._decay, self._steps = weights, decay, 0
        self._average = [weight.detach().clone() for weight in weights] if decay else []

    def follow(self) -> None:
        """Take in the weights after an optimizer step."""
        decay = min(self._decay, (self._steps + 1) / (self._steps + 6))
        self._steps += 1
        for average, weight in zip(self._average, self._weights, strict=False):
            average.lerp_(weight.detach(), 1 - decay)

    @torch.no_grad()
    def write(self) -> None:
        """Put the average into the weights."""
        for average, weight in zip(self._average, self._weights, strict=False):
            weight.copy_(average)
