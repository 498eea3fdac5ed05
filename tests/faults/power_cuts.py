"""Power cuts in the middle of labelling, replayed from a log of every write."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from trials import MEMORY_DISK, Tally
from write_log import FOLDER, Operation, WriteLog, after_power_cut

from hero_engine.core.errors import Damaged
from hero_engine.core.labels import Mark, MarkValue
from hero_engine.storage import journal_file, mark_log
from hero_engine.storage.file_system import FileSystem
from hero_engine.storage.journal import Journal
from hero_engine.storage.mark_log import LoggedMark

MARKS = 60
CHECKPOINT = 20
"""Pages of the write-ahead log after which SQLite copies it into the database."""
VALUES: tuple[MarkValue, ...] = ("good", "bad", "best", "skip")


def given(number: int) -> Mark:
    """The mark that is given as this one."""
    return Mark(number % 16, VALUES[number % len(VALUES)])


@dataclass(frozen=True)
class Play:
    """Writes of a round that was labelled; for each mark, how many there were once it was shown."""

    operations: list[Operation]
    shown: list[int]

    def unflushed(self) -> Play:
        """The same writes without a flush: what a disk that lies about them makes of it."""
        writes = [each for each in self.operations if not each.flushes]
        shown = [sum(not each.flushes for each in self.operations[:at]) for at in self.shown]
        return Play(writes, shown)


@contextmanager
def on(file_system: str) -> Iterator[None]:
    """Within, journals are opened as on this type of file system."""
    with patch.object(journal_file, "file_system", lambda _: FileSystem(file_system)):
        yield


def play(log: WriteLog) -> Play:
    """Label a round and record every write."""
    with TemporaryDirectory(dir=MEMORY_DISK) as root, _python_writes(Path(root), log):
        shown = []
        with log.recording(), Journal(Path(root) / "journal.db") as journal:
            journal._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
            journal.add_round(0)
            for number in range(MARKS):
                journal.mark(0, [given(number)], source="person")
                shown.append(len(log.operations))
        return Play(log.operations, shown)


@contextmanager
def _python_writes(folder: Path, log: WriteLog) -> Iterator[None]:
    """Record what Python writes there, lines of marks.log, and every flush."""
    make_line, flush, path = mark_log._line, os.fsync, folder / mark_log.NAME

    def line(mark: LoggedMark) -> str:
        text = make_line(mark)
        size = path.stat().st_size if path.exists() else 0
        log.operations.append(Operation(path.name, size, text.encode()))
        return text

    def flushed(descriptor: int) -> None:
        flush(descriptor)
        file = Path(f"/proc/self/fd/{descriptor}").readlink()
        log.operations.append(Operation(FOLDER if file == folder else file.name))

    with patch.object(mark_log, "_line", line), patch.object(os, "fsync", flushed):
        yield


def power_cuts(played: Play, cuts: int, seed: int) -> Tally:
    """Cut the power after random operations, each time with other sectors written."""
    tally, draws = Tally(), random.Random(seed)
    for cut in draws.choices(range(len(played.operations) + 1), k=cuts):
        with TemporaryDirectory(dir=MEMORY_DISK) as root:
            for name, data in after_power_cut(played.operations[:cut], draws).items():
                (Path(root) / name).write_bytes(data)
            promised = sum(at <= cut for at in played.shown)
            _count(Path(root) / "journal.db", cut, promised, tally)
    return tally


def _count(path: Path, cut: int, promised: int, tally: Tally) -> None:
    """Open what is left. It has every mark that was shown, and at most the one under way."""
    tally.faults += 1
    tally.labels += promised
    try:
        with Journal(path) as journal:
            marks = [Mark(row.image, row.value) for row in journal.history(0)]
    except Damaged as error:
        tally.lost += promised
        tally.different.append(f"power cut after {cut} operations: {error.message}")
        return
    tally.lost += max(0, promised - len(marks))
    if len(marks) > promised + 1 or marks != [given(number) for number in range(len(marks))]:
        tally.different.append(f"power cut after {cut} operations: {len(marks)} of {promised}")
