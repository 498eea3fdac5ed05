"""Where a GPU's memory holds more than the minibatch of the settings: how many pictures at once.

`ddpo` adds up the gradients of `images_per_update` pictures before each optimizer step, however
many of them go through the network at once; so a larger minibatch is the same mathematics, and
fewer, larger calls. (`forward` begins with all of an optimizer step's rows, and can only halve.)

How many fit is measured: before a run's first update one minibatch goes forth and back, and what
that took at its peak is held against what is free. The answer is in the journal, so that a run goes
on with it, bit for bit; and where it was wrong after all, the minibatch is halved as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from hero_engine.core.errors import is_memory_short
from hero_engine.training.oom_backoff import Limits
from hero_engine.updates import Experience, Update
from hero_engine.updates.ddpo import DdpoUpdate

SHARE = 0.8
"""Of the free memory, what a minibatch may take: the optimizer's moments, which come later, and
what an allocator wastes on pieces of other sizes need some as well."""

GIGA = 1e9


class DeviceMemory(Protocol):
    """Of the device that a model is on."""

    def free(self) -> int:
        """Bytes that can still be had."""
        ...

    def peak(self, work: Callable[[], None]) -> int:
        """Bytes that some work takes at its peak, besides what was taken before."""
        ...


class GpuMemory:
    """Of a GPU, as torch's allocator has it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Bytes that no process has, and those that this one keeps for nothing in particular."""
        device = self._device
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept

    def peak(self, work: Callable[[], None]) -> int:
        """Bytes that some work takes at its peak, besides what was taken before."""
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before


def memory_of(device: torch.device) -> DeviceMemory | None:
    """None for a device that a larger minibatch is not tried on."""
    return GpuMemory(device) if device.type == "cuda" else None


def pictures_at_once(update: Update, experience: Experience, limits: Limits) -> int:
    """How many pictures of an optimizer step to begin with; `limits` may know of fewer."""
    if not isinstance(update, DdpoUpdate) or not update.settings.auto_microbatch:
        return update.minibatch
    memory, most = memory_of(update.model.device), update.settings.images_per_update
    if memory is None or update.settings.microbatch >= most:
        return update.minibatch
    if not limits.knows("update"):
        limits.begin("update", *_found(update, experience, memory, most))
    return most


def fitting(pictures: int, needed: int, free: int, most: int) -> int:
    """The largest doubling of so many pictures, which need so many bytes, that the free ones hold.

    At most `most`. In proportion: weights are there already, what grows is what is kept of a row.
    """
    found = pictures
    while found < most and min(2 * found, most) / pictures * needed <= SHARE * free:
        found = min(2 * found, most)
    return found


def _found(
    update: DdpoUpdate, experience: Experience, memory: DeviceMemory, most: int
) -> tuple[int, str]:
    """How many at once, and what there is to say of it."""
    minibatch = update.settings.microbatch
    pictures = min(minibatch, len(experience.batch))
    rehearsal = update.rehearsal(experience, pictures)
    try:
        needed = memory.peak(rehearsal)
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise
        return minibatch, ""
    free = memory.free()
    found = fitting(pictures, needed, free, most)
    if found <= minibatch:
        return minibatch, ""
    return found, (
        f"the update takes {found} pictures at once, not {minibatch}: {pictures} need "
        f"{needed / GIGA:.1f} GB, and {free / GIGA:.1f} GB are free"
    )
