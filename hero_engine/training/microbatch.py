"""The microbatch of an update: larger than the settings' where a GPU's memory allows.

`ddpo` accumulates the gradients of `images_per_update` images before each optimizer step, however
many of them are in a forward pass; so a larger microbatch is the same mathematics in fewer, larger
calls. (`forward` begins with all rows of an optimizer step, and can only halve.)

How many fit is measured: before a run's first update one microbatch is computed, forward and
backward, and its peak is compared with the free memory. The answer is kept in the journal, so that
a resumed run computes the same; and where it was too large after all, the backoff halves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from hero_engine.core.errors import is_memory_short
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.updates import Update, UpdateTask
from hero_engine.updates.ddpo import DdpoUpdate, RewardedTrajectories

USABLE_SHARE = 0.8
"""Share of the free memory that a microbatch may take; the optimizer's moments and the allocator's
fragmentation need the rest."""

GIGA = 1e9


class DeviceMemory(Protocol):
    """The memory of the device that a model is on."""

    def free(self) -> int:
        """Bytes that can be allocated."""
        ...

    def peak(self, work: Callable[[], None]) -> int:
        """Bytes that some work allocates at its peak, beyond what was allocated before."""
        ...


class GpuMemory:
    """A GPU's memory, as torch's allocator sees it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Bytes that no process has allocated, and those that this one has cached."""
        device = self._device
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept

    def peak(self, work: Callable[[], None]) -> int:
        """Bytes that some work allocates at its peak, beyond what was allocated before."""
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before


def memory_of(device: torch.device) -> DeviceMemory | None:
    """None for a device on which no larger microbatch is tried."""
    return GpuMemory(device) if device.type == "cuda" else None


def first_microbatch(
    update: Update[Any],
    task: UpdateTask,
    backoff: OomBackoff,
    smallest: Callable[[int], int] = lambda images: images,
) -> int:
    """The microbatch to begin an update with, in rows; `backoff` may know of a smaller one.

    smallest: of what the processes of a run found, each on its own device.
    """
    if not isinstance(update, DdpoUpdate) or not update.settings.auto_microbatch:
        return update.microbatch
    memory, most = memory_of(update.model.device), update.settings.images_per_update
    if update.settings.microbatch >= most:
        return update.microbatch
    rows = update.rows_of_image
    if backoff.has_limit("update"):
        return update.microbatch if memory is None else most * rows
    fits, why = (0, "") if memory is None else _measured(update, task.lesson, memory, most)
    agreed = smallest(fits)
    if not agreed:
        return update.microbatch
    backoff.begin("update", agreed * rows, why if agreed == fits else "")
    return most * rows  # `backoff.run` takes the smaller of this and what it was told to begin with


def fitting(images: int, needed: int, free: int, most: int) -> int:
    """The largest doubling of `images`, which need `needed` bytes, that `free` bytes hold.

    At most `most`. Bytes grow in proportion to images: the weights are allocated already.
    """
    found = images
    while found < most and min(2 * found, most) / images * needed <= USABLE_SHARE * free:
        found = min(2 * found, most)
    return found


def _measured(
    update: DdpoUpdate, lesson: RewardedTrajectories, memory: DeviceMemory, most: int
) -> tuple[int, str]:
    """The microbatch that fits, and a notice about it."""
    smallest = update.settings.microbatch
    images = min(smallest, len(lesson.rewards_B))
    rehearsal = update.rehearsal(lesson, images)
    try:
        needed = memory.peak(rehearsal)
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise
        return smallest, ""
    free = memory.free()
    found = fitting(images, needed, free, most)
    if found <= smallest:
        return smallest, ""
    return found, (
        f"the update's microbatch is {found} images, not {smallest}: {images} need "
        f"{needed / GIGA:.1f} GB, and {free / GIGA:.1f} GB are free"
    )
