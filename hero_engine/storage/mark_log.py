"""marks.log: a second record of every mark, by which a loss in the journal is noticed.

SQLite takes what comes before the damage in a write-ahead log for the whole log, so marks after it
would be lost without a message. A line is appended here after its transaction is durable, so this
record is never ahead of the journal: a mark that is here and not there was lost.

    17 2 5 good 3f9a01c2      id, round, image, value, digest of these

A line whose digest differs is ignored: damage to this file claims nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from hero_engine.core.numbering import number, round_name
from hero_engine.storage.atomic_files import flush_folder, write_atomically

NAME = "marks.log"
MOST_NAMED = 20
"""Images that a message names."""


class LoggedMark(NamedTuple):
    """A mark as it is logged."""

    id: int
    round: int
    image: int
    value: str


def append(path: Path, marks: Sequence[LoggedMark]) -> None:
    """Add marks that are durable in the journal, durably. A disk that is full leaves them out."""
    new = not path.exists()
    with suppress(OSError), path.open("ab", buffering=0) as file:
        file.write("".join(map(_line, marks)).encode())
        os.fsync(file.fileno())
    if new:
        flush_folder(path.parent)


def read(path: Path) -> list[LoggedMark]:
    """The marks that are logged; none if there is no log."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [mark for line in lines if (mark := _parsed(line)) is not None]


def keep_until(path: Path, last: int) -> None:
    """Forget the marks after the one with this id: their loss was reported."""
    write_atomically(path, "".join(_line(mark) for mark in read(path) if mark.id <= last))


def described(marks: Sequence[LoggedMark]) -> str:
    """ "3 marks of round 2 (images 4, 7, 9)"."""
    parts = []
    for round, group in groupby(sorted(marks, key=lambda mark: mark.round), lambda m: m.round):
        of_round = list(group)
        images = sorted({number(mark.image) for mark in of_round})
        named = ", ".join(map(str, images[:MOST_NAMED])) + ", …" * (len(images) > MOST_NAMED)
        plural = "s" * (len(of_round) > 1)
        parts.append(
            f"{len(of_round)} mark{plural} of {round_name(round)} "
            f"(image{'s' * (len(images) > 1)} {named})"
        )
    return "; ".join(parts)


def _line(mark: LoggedMark) -> str:
    text = " ".join(map(str, mark))
    return f"{text} {_digest(text)}\n"


def _parsed(line: str) -> LoggedMark | None:
    text, _, digest = line.rpartition(" ")
    words = text.split(" ")
    if digest != _digest(text) or len(words) != len(LoggedMark._fields):
        return None
    id, round, image, value = words
    return LoggedMark(int(id), int(round), int(image), value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
