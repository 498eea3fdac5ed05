"""A pipeline's text encoders: on the device only while they encode, on the CPU where they are too
large for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

USABLE_SHARE = 0.9
"""Of the free memory of a device, what encoders may take; encoding needs the rest."""


def modules_of(pipeline: Any) -> list[nn.Module]:
    """A pipeline's components with weights."""
    return [each for each in pipeline.components.values() if isinstance(each, nn.Module)]


def free_bytes(device: torch.device) -> float:
    """Memory that a device has left; without limit for a CPU, where the encoders are already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


@dataclass
class Encoders:
    """All components but the network and the VAE."""

    pipeline: Any
    network: Any
    device: torch.device
    working: torch.device | None = None

    @contextmanager
    def at_work(self) -> Iterator[torch.device]:
        """Where they encode, for as long as the block lasts.

        The network makes room for them, where it was on the device already.
        """
        if self.working is not None:
            yield self.working
            return
        placed = next(self.network.parameters()).device
        moves = placed.type != "cpu" and placed == self.device
        if moves:
            self.network.to("cpu")
        encoders = self._modules()
        self.working = self._place(encoders)
        for encoder in encoders:
            encoder.to(self.working)
        try:
            yield self.working
        finally:
            self.working = None
            for encoder in encoders:
                encoder.to("cpu")
            if moves:
                self.network.to(placed)

    def _modules(self) -> list[nn.Module]:
        others = (self.network, self.pipeline.vae)
        return [each for each in modules_of(self.pipeline) if all(each is not o for o in others)]

    def _place(self, encoders: list[nn.Module]) -> torch.device:
        """The device, or the CPU where the encoders do not fit."""
        size = sum(weight.nbytes for each in encoders for weight in each.parameters())
        fits = size <= USABLE_SHARE * free_bytes(self.device)
        return self.device if fits else torch.device("cpu")
