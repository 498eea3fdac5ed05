"""What it takes that processes speak: a bandwidth and a latency, measured or thought of."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil, log2

import torch

from hero_engine.distributed.collectives import Message, Ranks

SUMS = 50
"""Sums that a wire is measured with, of either size."""


@dataclass(frozen=True)
class Wire:
    """Between any two processes: bytes a second, and seconds until the first one is there."""

    bandwidth: float
    latency: float

    def sum(self, count: int, size: float) -> float:
        """Seconds in which `count` processes add up so many bytes, in a ring, as gloo does."""
        if count == 1:
            return 0.0
        there_and_back = 2 * (count - 1)
        return there_and_back * self.latency + there_and_back / count * size / self.bandwidth

    def hand_out(self, count: int, size: float) -> float:
        """Seconds in which one process hands so many bytes to all others, in a tree."""
        return ceil(log2(count)) * (self.latency + size / self.bandwidth)

    def gather(self, count: int, size: float) -> float:
        """Seconds in which one process gets together so many bytes, of which it has its part."""
        if count == 1:
            return 0.0
        return self.latency + (count - 1) / count * size / self.bandwidth


def measured_wire(ranks: Ranks, numbers: int) -> Wire:
    """Between these processes, from sums of one float32 number, and of so many (2 or more)."""
    small, large = _seconds(ranks, 1), _seconds(ranks, numbers)
    there_and_back = 2 * (ranks.count - 1)
    size = there_and_back / ranks.count * 4 * (numbers - 1)
    return Wire(size / max(large - small, 1e-9), small / there_and_back)


def add_up_zeros(ranks: Ranks, numbers: int, times: int) -> None:
    """What every process does while a wire is measured."""
    zeros = torch.zeros(numbers)
    with ranks.together():
        for _ in range(times):
            ranks.add_up([zeros])


def _seconds(ranks: Ranks, numbers: int) -> float:
    """That a sum takes on rank 0, with all that `Ranks` does besides."""
    ranks.order(Message({"do": "add up zeros", "numbers": numbers, "times": SUMS}))
    begun = time.perf_counter()
    add_up_zeros(ranks, numbers, SUMS)
    return (time.perf_counter() - begun) / SUMS
