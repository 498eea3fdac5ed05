"""The journal of a run: every mark, undo and commit, durable the moment it is given.

SQLite with a write-ahead log and ``synchronous = FULL``: when a method returns, what it wrote
survives a crash of the process and of the machine. Marks are only ever added; the last one on a
picture is its label. One ``Journal`` belongs to one thread; open another for another thread.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from hero_engine.errors import ExitCode, HeroError
from hero_engine.labels import Labels

Value = Literal["good", "bad", "clear", "best", "unbest"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS rounds (
    round INTEGER PRIMARY KEY, phase TEXT NOT NULL, submitted REAL, metrics TEXT);
CREATE TABLE IF NOT EXISTS images (
    round INTEGER, image INTEGER, path TEXT NOT NULL, PRIMARY KEY (round, image));
CREATE TABLE IF NOT EXISTS marks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, round INTEGER NOT NULL, step INTEGER NOT NULL,
    image INTEGER NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
    time REAL NOT NULL);
CREATE INDEX IF NOT EXISTS marks_of_round ON marks (round, id);
"""


@dataclass(frozen=True)
class Mark:
    """One picture's new value.

    "best" makes it good and the round's best; "unbest" takes best away and leaves it good; "clear"
    makes it unlabelled.
    """

    image: int
    value: Value


@dataclass(frozen=True)
class HistoryRow:
    """A mark as the journal keeps it; rows of one ``mark`` call share ``step``."""

    id: int
    step: int
    image: int
    value: Value
    kind: str
    source: str
    time: float


class Journal:
    """``journal.db`` of a run. HeroError, exit code 4, where the file is not a journal."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            raise HeroError(f"{path} cannot be read: {error}", exit_code=ExitCode.RUN) from error

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_round(self, round: int) -> None:
        """Begin a round, in the phase "sampling"; nothing happens where it has begun."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO rounds VALUES (?, 'sampling', NULL, NULL)", (round,)
            )

    def set_phase(self, round: int, phase: str) -> None:
        """The round entered a phase."""
        with self._db:
            self._db.execute("UPDATE rounds SET phase = ? WHERE round = ?", (phase, round))

    def current(self) -> tuple[int, str] | None:
        """The last round and its phase; None before the first."""
        row = self._db.execute(
            "SELECT round, phase FROM rounds ORDER BY round DESC LIMIT 1"
        ).fetchone()
        return None if row is None else (int(row[0]), str(row[1]))

    def add_images(self, round: int, paths: Mapping[int, str]) -> None:
        """Pictures of a round are on the disk: index -> path relative to the run."""
        rows = [(round, image, path) for image, path in paths.items()]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", rows)

    def images(self, round: int) -> dict[int, str]:
        """The round's pictures so far, index -> path relative to the run."""
        query = "SELECT image, path FROM images WHERE round = ? ORDER BY image"
        return {int(image): str(path) for image, path in self._db.execute(query, (round,))}

    def mark(self, round: int, changes: Sequence[Mark], *, source: str, kind: str = "mark") -> None:
        """Write these marks in one durable transaction.

        source: who gave them ("person", "judge", a file's name). kind: "mark", "undo", "redo" or
        "commit"; the labels do not depend on it.
        """
        now = time.time()
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            step = self._db.execute("SELECT COALESCE(MAX(step), 0) + 1 FROM marks").fetchone()[0]
            self._db.executemany(
                "INSERT INTO marks (round, step, image, value, kind, source, time)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(round, step, each.image, each.value, kind, source, now) for each in changes],
            )

    def history(self, round: int) -> list[HistoryRow]:
        """Every mark of the round, oldest first."""
        query = (
            "SELECT id, step, image, value, kind, source, time FROM marks"
            " WHERE round = ? ORDER BY id"
        )
        return [HistoryRow(*row) for row in self._db.execute(query, (round,))]

    def labels(self, round: int, batch: int) -> Labels:
        """What the marks of the round come to: the last on a picture counts."""
        good: list[bool | None] = [None] * batch
        best: int | None = None
        for row in self.history(round):
            if not 0 <= row.image < batch:
                continue
            good[row.image] = {"clear": None, "bad": False}.get(row.value, True)
            if row.value == "best":
                best = row.image
            elif best == row.image and row.value != "good":
                best = None
        return Labels(tuple(good), best)

    def first_good(self, round: int, batch: int) -> int | None:
        """The good picture that was marked good first (ties by index); None without goods."""
        goods = set(self.labels(round, batch).goods)
        since: dict[int, int] = {}
        for row in self.history(round):
            if row.value in ("bad", "clear"):
                since.pop(row.image, None)
            elif row.image in goods:
                since.setdefault(row.image, row.id)
        return min(since, key=lambda image: (since[image], image)) if since else None

    def submit(self, round: int) -> None:
        """The round's labels are complete; training may begin."""
        with self._db:
            self._db.execute(
                "UPDATE rounds SET submitted = ? WHERE round = ?", (time.time(), round)
            )

    def submitted(self, round: int) -> bool:
        """Whether the round's labels are complete."""
        row = self._db.execute("SELECT submitted FROM rounds WHERE round = ?", (round,)).fetchone()
        return row is not None and row[0] is not None

    def finish_round(self, round: int, metrics: Mapping[str, Any]) -> None:
        """The round is done, with these figures: both or neither."""
        with self._db:
            self._db.execute(
                "UPDATE rounds SET phase = 'done', metrics = ? WHERE round = ?",
                (json.dumps(metrics), round),
            )

    def metrics(self) -> list[dict[str, Any]]:
        """The figures of every finished round, oldest first."""
        rows = self._db.execute(
            "SELECT metrics FROM rounds WHERE metrics IS NOT NULL ORDER BY round"
        )
        return [json.loads(row[0]) for row in rows]


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(SCHEMA)
    return db
