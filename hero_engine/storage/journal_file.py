"""journal.db as a file: its tables, how it is opened, and what an error of SQLite means."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from hero_engine.core.errors import Damaged, ExitCode, HeroError
from hero_engine.storage.atomic_files import flush_folder
from hero_engine.storage.file_system import file_system

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
    step TEXT PRIMARY KEY, microbatch INTEGER NOT NULL, seal TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS marks_of_round ON marks (round, id);
"""
UNWRITABLE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
WAL_VERSION = slice(18, 19)
"""Byte of a database's header that is 2 with a write-ahead log: sqlite.org/fileformat2.html."""


def refusal(path: Path, error: sqlite3.DatabaseError) -> HeroError:
    """The error for the user: no space or permission, in use, or damaged."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(UNWRITABLE) and path.parent.is_dir():
        hint = "; is a quota used up?" if name.startswith("SQLITE_IOERR") else ""
        return HeroError(f"cannot write {path}: {error}{hint}", exit_code=ExitCode.ENVIRONMENT)
    if name.startswith(BUSY):
        return HeroError(f"{path} is in use: {error}", exit_code=ExitCode.RUN)
    return Damaged(f"{path} cannot be read: {error}")


def write_ahead_log(path: Path) -> Path:
    """SQLite's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def damaged_log(path: Path) -> Path:
    """Where a damaged write-ahead log is kept."""
    return path.with_name(f"{path.name}-wal.damaged")


def bytes_of(path: Path) -> bytes:
    """A file's content; none if it does not exist."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


def open_database(path: Path) -> sqlite3.Connection:
    """Open to write, in the mode that is safe on its file system. Made if it does not exist."""
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
    if bytes_of(path)[WAL_VERSION] == b"\2":  # from a local disk: read its log alone, once
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA locking_mode = NORMAL")
    db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # releases an exclusive lock


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open to read. In a read-only folder, which has no room for SQLite's lock, only if no process
    left a write-ahead log. A journal that was just made has no tables yet.
    """
    where, count = path.absolute().as_uri(), "SELECT COUNT(*) FROM sqlite_master"
    try:
        db = sqlite3.connect(f"{where}?mode=ro", uri=True, timeout=10)
        tables = db.execute(count).fetchone()[0]
    except sqlite3.OperationalError:
        log = write_ahead_log(path)
        if log.exists() and log.stat().st_size:
            raise
        db = sqlite3.connect(f"{where}?immutable=1", uri=True)
        tables = db.execute(count).fetchone()[0]
    if tables == 0:
        db = sqlite3.connect(":memory:")
        db.executescript(SCHEMA)
    return db
