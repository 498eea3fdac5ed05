"""Which rank has which rows: images of a round, rows of an optimizer step.

Ranks take contiguous parts whose sizes differ by at most one row, larger parts first. The parts of
all ranks, one after the other, are the rows in their order, so no result depends on the number of
processes but for the order of float32 sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor


def share(rows: Tensor, rank: int, count: int) -> Tensor:
    """The rows (first dimension) of one of `count` ranks, in order. May be empty."""
    return rows.tensor_split(count)[rank]


def parallel_groups(microbatches: Sequence[range], count: int) -> Iterator[Sequence[range]]:
    """Groups of microbatches that are sampled at the same time, one by each process."""
    return (microbatches[first : first + count] for first in range(0, len(microbatches), count))


def slices(group: Sequence[range]) -> Iterator[tuple[range, slice]]:
    """Each microbatch of a group, and the slice of its images among those of the group."""
    done = 0
    for images in group:
        yield images, slice(done, done + len(images))
        done += len(images)
