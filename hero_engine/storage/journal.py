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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from hero_engine.core.errors import Damaged, ExitCode, HeroError
from hero_engine.core.events import with_current_names
from hero_engine.core.labels import Labels, Mark, MarkValue, RoundMarks
from hero_engine.core.numbering import round_name
from hero_engine.storage import mark_log
from hero_engine.storage.atomic_files import flush_folder, write_atomically
from hero_engine.storage.file_system import file_system
from hero_engine.storage.mark_log import LoggedMark
from hero_engine.storage.path_safety import inside

SCHEMA = """
CREATE TABLE IF NOT EXISTS rounds (
    round INTEGER PRIMARY KEY, phase TEXT NOT NULL, submitted REAL, metrics TEXT,
    seal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    round INTEGER, image INTEGER, path TEXT NOT NULL, seal TEXT NOT NULL,
    PRIMARY KEY (round, image));
CREATE TABLE IF NOT EXISTS marks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, round INTEGER NOT NULL, step INTEGER NOT NULL,
    image INTEGER NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
    time REAL NOT NULL, seal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS limits (
    step TEXT PRIMARY KEY, minibatch INTEGER NOT NULL, seal TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS marks_of_round ON marks (round, id);
"""
UNWRITABLE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
WAL_VERSION = slice(18, 19)
"""Byte of a database's header that is 2 with a write-ahead log: sqlite.org/fileformat2.html."""


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


class Journal:
    """journal.db of a run; made if it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path, self._log = path, path.with_name(mark_log.NAME)
        logged, written_ahead = mark_log.read(self._log), _bytes_of(_wal(path))
        with self._translated_errors():
            self._db = _open(path)
            self._check_form()
        if lost := self._lost(logged):
            self._keep_damaged(written_ahead)
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
            self._db = _open_to_read(path)
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
        rows = self._sealed("SELECT round, phase, submitted, metrics, seal FROM rounds ORDER BY 1")
        return {int(row[0]): Round(*row) for row in rows}

    def current(self) -> tuple[int, str] | None:
        """The round that was never learned from, else the last, and its phase; None before both.

        One more may have begun after it: see the setting `sample_ahead`.
        """
        return self._first(lambda row: row.metrics is None)

    def at_hand(self) -> tuple[int, str] | None:
        """The round to label: the first that was not handed in, else the last; likewise."""
        return self._first(lambda row: row.submitted is None and row.metrics is None)

    def _first(self, wanted: Callable[[Round], bool]) -> tuple[int, str] | None:
        rows = list(self.rounds().values())
        found = next(filter(wanted, rows), rows[-1] if rows else None)
        return None if found is None else (found.round, found.phase)

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
        """Submit a round: its labels are complete."""
        self._change(round, submitted=float(time.time()))

    def submitted(self, round: int) -> bool:
        """Whether a round is submitted."""
        row = self.rounds().get(round)
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
        row = self.rounds().get(round)
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

    def _keep_damaged(self, written_ahead: bytes) -> None:
        """Keep the write-ahead log as it was found, and forget the marks that it lost."""
        last = self._rows("SELECT COALESCE(MAX(id), 0) FROM marks")[0][0]
        with suppress(OSError):
            if written_ahead:
                write_atomically(_damaged(self.path), written_ahead)
            mark_log.keep_until(self._log, last)

    def _refuse_loss(self, lost: Sequence[LoggedMark]) -> Damaged:
        """The error that names what is lost, and the command that continues without it."""
        self._db.close()
        return Damaged(
            f"{_wal(self.path)} is damaged: {mark_log.described(lost)} lost. hero resume "
            f"{self.path.parent} keeps it as {_damaged(self.path).name}; run it again to continue "
            "without those marks"
        )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into HeroError; programming errors pass."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            raise _refusal(self.path, error) from error


def _refusal(path: Path, error: sqlite3.DatabaseError) -> HeroError:
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(UNWRITABLE) and path.parent.is_dir():
        hint = "; is a quota used up?" if name.startswith("SQLITE_IOERR") else ""
        return HeroError(f"cannot write {path}: {error}{hint}", exit_code=ExitCode.ENVIRONMENT)
    if name.startswith(BUSY):
        return HeroError(f"{path} is in use: {error}", exit_code=ExitCode.RUN)
    return Damaged(f"{path} cannot be read: {error}")


def _wal(path: Path) -> Path:
    """SQLite's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def _damaged(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal.damaged")


def _bytes_of(path: Path) -> bytes:
    """A file's content; none if it does not exist."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _seal(row: Sequence[Any], before: str = "") -> str:
    """Digest of a row's values, the same for values read from SQLite and values written."""
    return hashlib.sha256(repr((before, *row)).encode()).hexdigest()[:16]


def _open(path: Path) -> sqlite3.Connection:
    new = not path.exists()
    db = sqlite3.connect(path, timeout=10)
    if file_system(path.parent).network:
        _roll_back_by_journal(db, path)
    else:
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(SCHEMA)
    if new:
        flush_folder(path.parent)
    return db


def _roll_back_by_journal(db: sqlite3.Connection, path: Path) -> None:
    """Use a rollback journal, which needs no shared memory. With synchronous = FULL its truncation,
    which completes a transaction, is flushed.
    """
    if _bytes_of(path)[WAL_VERSION] == b"\2":  # from a local disk: read its log alone, once
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA locking_mode = NORMAL")
    db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # releases an exclusive lock


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open to read. In a read-only folder, which has no room for SQLite's lock, only if no process
    left a write-ahead log. A journal that was just made has no tables yet.
    """
    where, count = path.absolute().as_uri(), "SELECT COUNT(*) FROM sqlite_master"
    try:
        db = sqlite3.connect(f"{where}?mode=ro", uri=True, timeout=10)
        tables = db.execute(count).fetchone()[0]
    except sqlite3.OperationalError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        db = sqlite3.connect(f"{where}?immutable=1", uri=True)
        tables = db.execute(count).fetchone()[0]
    if tables == 0:
        db = sqlite3.connect(":memory:")
        db.executescript(SCHEMA)
    return db
