"""How rounds and pictures are counted: people read and type them from 1, all else from 0.

All else is code, files, folders, the journal, events and JSON: there a round or a picture is an
index. This module alone turns one into the other.
"""

from __future__ import annotations

from collections.abc import Sequence


def number(index: int) -> int:
    """What a person reads for the round or picture with this index: 1 is the first."""
    return index + 1


def index(number: int) -> int:
    """The index of the round that a person typed, from 1 on."""
    return number - 1


def round_name(round: int) -> str:
    """ "round 1" for the first."""
    return f"round {number(round)}"


def picture_name(image: int) -> str:
    """ "picture 1" for the first of a round."""
    return f"picture {number(image)}"


def rounds_name(rounds: Sequence[int]) -> str:
    """Rounds that follow each other, at least one: "round 2", or "rounds 2 to 4"."""
    first, last = rounds[0], rounds[-1]
    return round_name(first) if first == last else f"rounds {number(first)} to {number(last)}"
