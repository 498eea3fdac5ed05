"""Collectives that computing code uses: this process's rows, a sum, a concatenation.

`distributed/` implements it with torch.distributed. Its users know no process group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Collective(Protocol):
    """This process among `count`. All processes must call the same methods in the same order."""

    count: int

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of the rows (the first dimension), in order; it may be empty."""
        ...

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place."""
        ...

    def all_gather(self, part: Tensor) -> Tensor:
        """The parts of all processes, concatenated in the order of `share`."""
        ...


class OneProcess:
    """A collective of one process, which has every row."""

    count = 1

    def share(self, rows: Tensor) -> Tensor:
        """All rows."""
        return rows

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """The tensors are their own sum."""

    def all_gather(self, part: Tensor) -> Tensor:
        """The part is the whole."""
        return part


ONE_PROCESS = OneProcess()


@dataclass(frozen=True)
class Microbatches:
    """How rows are computed: this process's share, at most `size` rows a forward pass."""

    size: int
    collective: Collective = ONE_PROCESS

    def of(self, rows: Tensor) -> Iterator[Tensor]:
        """The pieces of this process's share of the rows; none of them is empty."""
        pieces = torch.split(self.collective.share(rows), self.size)
        return (piece for piece in pieces if len(piece))
