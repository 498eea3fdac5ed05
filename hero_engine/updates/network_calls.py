"""The network calls of a round's update, by settings alone: its time and memory follow from them.

Every update lists its own (`Update.network_calls`). Pre-flight, `hero bench speed` and
`hero bench memory` count them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

TRAINED = 4
"""Forward passes that a trained row costs: forward, again for checkpointing, twice for backward."""


class Call(NamedTuple):
    """A call of the network. trained: a backward pass follows. float32: in any network's precision,
    the call computes in float32.
    """

    rows: int
    trained: bool
    float32: bool = False


@dataclass(frozen=True)
class RoundSize:
    """A round whose images are all labelled, half of them good, as an update sees it.

    images: of the round. steps: denoising steps of an image that can be trained: those with noise.
    rows: network rows of a denoising step of an image, 2 with classifier-free guidance. lower: the
    network computes in bfloat16 or float16.
    """

    images: int
    steps: int
    rows: int = 1
    lower: bool = False


def parts(total: int, size: int) -> Iterator[int]:
    """The sizes of the parts of `total` rows, `size` a part; the last one may be smaller."""
    for at in range(0, total, size):
        yield min(size, total - at)


def forward_passes(calls: Iterable[Call]) -> int:
    """What calls cost, in forward passes of one network row."""
    return sum(call.rows * (TRAINED if call.trained else 1) for call in calls)
