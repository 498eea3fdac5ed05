"""The journal of a run: every mark, undo and commit, durable as soon as it is given.

SQLite with `synchronous = FULL` and a write-ahead log (on a network file system, where that is
unsafe, a rollback journal): when a method returns, what it wrote survives a crash of the process
and of the machine. Marks are only added; the last one on an image is its label. A `Journal`
belongs to one thread; open another for another thread.

SQLite detects damage to the structure of its file, not to its values. So every row has a seal, a
digest of its values; the seal of a mark also covers the mark before it. `mark_log` detects a
damaged write-ahead log.

Any method may raise HeroError: exit code 3 if the disk is full or cannot be written, 4 if the file
is damaged or another process keeps it locked.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from hero_engine.core.errors import Damaged, HeroError
from hero_engine.core.events import with_current_names
from hero_engine.core.labels import Labels, Mark, MarkValue, RoundMarks
from hero_engine.core.numbering import round_name
from hero_engine.storage import mark_log
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.journal_file import (
    bytes_of,
    damaged_log,
    open_database,
    open_to_read,
    refusal,
    write_ahead_log,
)
from hero_engine.storage.mark_log import LoggedMark
from hero_engine.storage.path_safety import inside


@dataclass(frozen=True)
class HistoryRow:
    """A mark as it is stored; the rows of one `mark` call share `step`."""

    id: int
    step: int
    image: int
    value: MarkValue
    kind: str
    source: str
    time: float


class Round(NamedTuple):
    """A round as it is stored: when it was submitted, and its metrics in JSON."""

    round: int
    phase: str
    submitted: float | None = None
    metrics: str | None = None


ROUNDS = "SELECT round, phase, submitted, metrics, seal FROM rounds"


class Journal:
    """journal.db of a run; made if it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path, self._log = path, path.with_name(mark_log.NAME)
        logged, written_ahead = mark_log.read(self._log), bytes_of(write_ahead_log(path))
        with self._translated_errors():
            self._db = open_database(path)
            self._check_form()
        if lost := self._lost(logged):
            self._keep_damaged_log(written_ahead)
            raise self._refuse_loss(lost)

    @classmethod
    def reading(cls, path: Path) -> Journal:
        """Open the journal for reading only; the folder may be read-only."""
        if not path.exists():
            raise Damaged(f"{path} is missing")
        self = cls.__new__(cls)
        self.path, self._log = path, path.with_name(mark_log.NAME)
        logged = mark_log.read(self._log)
        with self._translated_errors():
            self._db = open_to_read(path)
            self._check_form()
        if lost := self._lost(logged):
            raise self._refuse_loss(lost)
        return self

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_round(self, round: int) -> None:
        """Begin a round, in the phase "sampling", unless it has begun."""
        row = Round(round, "sampling")
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO rounds VALUES (?, ?, ?, ?, ?)", (*row, _seal(row)))

    def set_phase(self, round: int, phase: str) -> None:
        """Store the phase that a round entered."""
        self._change(round, phase=phase)

    def rounds(self) -> dict[int, Round]:
        """Every round that has begun, in order."""
        rows = self._sealed(f"{ROUNDS} ORDER BY round")
        return {int(row[0]): Round(*row) for row in rows}

    def round(self, round: int) -> Round | None:
        """A round, or None if it has not begun."""
        return self._one_round("WHERE round = ?", round)

    def current(self) -> tuple[int, str] | None:
        """The round that was never learned from, else the last, and its phase; None before both.

        One more may have begun after it: see the setting `sample_ahead`.
        """
        return self._first("metrics IS NULL")

    def at_hand(self) -> tuple[int, str] | None:
        """The round to label: the first that is not submitted, else the last; likewise."""
        return self._first("submitted IS NULL AND metrics IS NULL")

    def _first(self, wanted: str) -> tuple[int, str] | None:
        last = "ORDER BY round DESC"
        found = self._one_round(f"WHERE {wanted} ORDER BY round") or self._one_round(last)
        return None if found is None else (found.round, found.phase)

    def _one_round(self, which: str, *values: int) -> Round | None:
        rows = self._sealed(f"{ROUNDS} {which} LIMIT 1", values)
        return Round(*rows[0]) if rows else None

    def add_images(self, round: int, paths: Mapping[int, str]) -> None:
        """Store that images of a round are on the disk: index -> path relative to the run."""
        rows = [(round, image, path) for image, path in paths.items()]
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)",
                [(*row, _seal(row)) for row in rows],
            )

    def images(self, round: int) -> dict[int, str]:
        """The round's images so far: index -> path relative to the run, and inside of it."""
        query = "SELECT round, image, path, seal FROM images WHERE round = ? ORDER BY image"
        found = {int(image): str(path) for _, image, path in self._sealed(query, (round,))}
        for path in found.values():
            inside(self.path.parent, path)
        return found

    def mark(
        self,
        round: int,
        changes: Sequence[Mark],
        *,
        source: str,
        kind: str = "mark",
        submit: bool = False,
    ) -> None:
        """Store marks in one durable transaction; with `submit`, submit the round in it too.

        source: who gave them ("person", "judge", a file's name). kind: "mark", "skip", "commit",
        "undo" or "redo"; the labels do not depend on it. HeroError, exit code 2, if the round is
        submitted.
        """
        now, logged = float(time.time()), []
        with self._transaction() as db:
            if self.submitted(round):
                raise HeroError(f"{round_name(round)} is submitted: its labels are final")
            step = db.execute("SELECT COALESCE(MAX(step), 0) + 1 FROM marks").fetchone()[0]
            last = "SELECT seal FROM marks WHERE round = ? ORDER BY id DESC LIMIT 1"
            seal = (db.execute(last, (round,)).fetchone() or ("",))[0]
            for each in changes:
                row = (round, step, each.image, each.value, kind, source, now)
                seal = _seal(row, seal)
                added = db.execute(
                    "INSERT INTO marks (round, step, image, value, kind, source, time, seal)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, seal),
                )
                logged.append(LoggedMark(int(added.lastrowid or 0), round, each.image, each.value))
            if submit:
                self._put(db, round, submitted=now)
        mark_log.append(self._log, logged)

    def history(self, round: int) -> list[HistoryRow]:
        """Every mark of the round, oldest first."""
        query = (
            "SELECT id, round, step, image, value, kind, source, time, seal FROM marks"
            " WHERE round = ? ORDER BY id"
        )
        before, found = "", []
        for id, *row, seal in self._rows(query, (round,)):
            before = _seal(row, before)
            if seal != before:
                raise Damaged(
                    f"{self.path} is damaged: mark {id} differs from the one that was given"
                )
            found.append(HistoryRow(id, *row[1:]))
        return found

    def marks(self, round: int, batch: int, groups: Sequence[int] = ()) -> RoundMarks:
        """The round's marks, replayed on a batch of pictures with these prompts' numbers."""
        marks = (Mark(row.image, row.value) for row in self.history(round))
        return RoundMarks.replayed(batch, marks, groups)

    def labels(self, round: int, batch: int, groups: Sequence[int] = ()) -> Labels:
        """The labels of a round."""
        return self.marks(round, batch, groups).labels()

    def submit(self, round: int) -> None:
        """Submit a round: from now on its labels are final."""
        self._change(round, submitted=float(time.time()))

    def submitted(self, round: int) -> bool:
        """Whether a round is submitted."""
        row = self.round(round)
        return row is not None and row.submitted is not None

    def finish_round(self, round: int, metrics: Mapping[str, Any]) -> None:
        """Store that a round is done, and its metrics: both or neither."""
        self._change(round, phase="done", metrics=json.dumps(metrics))

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics of every finished round, oldest first."""
        rows = [row.metrics for row in self.rounds().values() if row.metrics]
        return [with_current_names(json.loads(row)) for row in rows]

    def limit(self, step: str, microbatch: int) -> None:
        """Store how many rows the device's memory holds in this step of a round."""
        row = (step, microbatch)
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO limits VALUES (?, ?, ?)", (*row, _seal(row)))

    def limits(self) -> dict[str, int]:
        """Rows that memory holds, for each step of a round that ran out of it."""
        return {step: rows for step, rows in self._sealed("SELECT * FROM limits")}

    def copy(self, path: Path, rounds: int) -> None:
        """Write a new journal with the first `rounds` rounds of this one, and the limits."""
        with self._translated_errors(), closing(sqlite3.connect(path)) as other:
            self._db.backup(other)
            with other:
                for table in ("rounds", "images", "marks"):
                    other.execute(f"DELETE FROM {table} WHERE round >= ?", (rounds,))
            other.execute("VACUUM")

    def _change(self, round: int, **values: Any) -> None:
        """Replace columns of a round, durably."""
        with self._transaction() as db:
            self._put(db, round, **values)

    def _put(self, db: sqlite3.Connection, round: int, **values: Any) -> None:
        row = self.round(round)
        if row is not None:
            row = row._replace(**values)
            db.execute("REPLACE INTO rounds VALUES (?, ?, ?, ?, ?)", (*row, _seal(row)))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Store all that the block writes, durably, or nothing of it."""
        with self._translated_errors(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._translated_errors():
            return self._db.execute(query, values).fetchall()

    def _sealed(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows without their last column, the seal, once it was checked."""
        found = self._rows(query, values)
        for *row, seal in found:
            if seal != _seal(row):
                raise Damaged(f"{self.path} is damaged: {row} differs from what was written")
        return [row[:-1] for row in found]

    def _check_form(self) -> None:
        """Check the structure of the whole file: a run's journal is small."""
        problem = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            self._db.close()
            raise Damaged(f"{self.path} is damaged: {problem.splitlines()[-1]}")

    def _lost(self, logged: Sequence[LoggedMark]) -> list[LoggedMark]:
        """Logged marks that the journal does not have. `logged` was read before it was opened."""
        last = self._rows("SELECT COALESCE(MAX(id), 0) FROM marks")[0][0]
        return [mark for mark in logged if mark.id > last]

    def _keep_damaged_log(self, written_ahead: bytes) -> None:
        """Keep the write-ahead log as it was found, and forget the marks that it lost."""
        last = self._rows("SELECT COALESCE(MAX(id), 0) FROM marks")[0][0]
        with suppress(OSError):
            if written_ahead:
                write_atomically(damaged_log(self.path), written_ahead)
            mark_log.keep_until(self._log, last)

    def _refuse_loss(self, lost: Sequence[LoggedMark]) -> Damaged:
        """The error that names what is lost, and the command that continues without it."""
        self._db.close()
        return Damaged(
            f"{write_ahead_log(self.path)} is damaged: {mark_log.described(lost)} lost. "
            f"hero resume {self.path.parent} keeps it as {damaged_log(self.path).name}; "
            "run it again to continue without those marks"
        )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into HeroError; programming errors pass."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            raise refusal(self.path, error) from error


def _seal(row: Sequence[Any], before: str = "") -> str:
    """Digest of a row's values, the same for values read from SQLite and values written."""
    return hashlib.sha256(repr((before, *row)).encode()).hexdigest()[:16]
