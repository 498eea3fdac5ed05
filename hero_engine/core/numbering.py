"""Numbers of rounds and images: people read and type them from 1, everything else counts from 0.

Code, files, folders, the journal, events and JSON have indices. Only this module converts.
"""

from __future__ import annotations

from collections.abc import Sequence


def number(index: int) -> int:
    """The number that a person reads for an index: 1 for 0."""
    return index + 1


def index(number: int) -> int:
    """The index of a number that a person typed: 0 for 1."""
    return number - 1


def counted(count: int, what: str) -> str:
    """ "1 round", "2 rounds"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def round_name(round: int) -> str:
    """ "round 1" for the first."""
    return f"round {number(round)}"


def picture_name(image: int) -> str:
    """ "picture 1" for the first of a round."""
    return f"picture {number(image)}"


def rounds_name(rounds: Sequence[int]) -> str:
    """Consecutive rounds, at least one: "round 2", or "rounds 2 to 4"."""
    first, last = rounds[0], rounds[-1]
    return round_name(first) if first == last else f"rounds {number(first)} to {number(last)}"
