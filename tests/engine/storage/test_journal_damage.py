"""A journal that is damaged, full, busy or read-only says so; it never gives a wrong label."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.labels import Labels, Mark
from hero_engine.storage.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with two rounds; the first has three marks and is submitted."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        for round in (0, 1):
            journal.add_round(round)
            journal.add_images(round, {0: "images/0.png", 1: "images/1.png"})
            journal.mark(round, [Mark(0, "good"), Mark(1, "bad")], source="person")
            journal.mark(round, [Mark(1, "good")], source="person")
        journal.finish_round(0, {"labels_total": 2})
        journal.limit("sample", 4)
        journal.submit(0)
    return path


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as journal:
        yield journal


CHANGES = [
    "UPDATE marks SET value = 'bad' WHERE id = 1",
    "UPDATE marks SET image = 0 WHERE id = 2",
    "UPDATE marks SET source = 'judge' WHERE id = 3",
    "DELETE FROM marks WHERE id = 2",
    "DELETE FROM marks WHERE id = 1",
    "UPDATE marks SET id = 99 WHERE id = 1",
    "UPDATE marks SET round = 0 WHERE id = 4",
    "UPDATE marks SET seal = 'x' WHERE id = 3",
]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_marks_are_reported(path: Path, change: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(change)
    with Journal.reading(path) as journal:
        for read in (journal.history, lambda round: journal.labels(round, 2)):
            with refused(
                ExitCode.RUN, path, "is damaged: mark", "differs from the one that was given"
            ):
                read(0)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rounds SET phase = 'done' WHERE round = 1",
        "UPDATE rounds SET submitted = 5 WHERE round = 1",
        "UPDATE rounds SET metrics = '{}' WHERE round = 0",
        "UPDATE images SET path = 'images/1.png' WHERE round = 0 AND image = 0",
        "UPDATE limits SET microbatch = 400",
    ],
)
def test_changed_rows_are_reported(path: Path, change: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(change)
    with Journal(path) as journal, refused(ExitCode.RUN, "differs from what was written"):
        journal.rounds(), journal.images(0), journal.limits()


@pytest.mark.parametrize("at", range(100, 45_000, 3001))
def test_a_flipped_byte_is_reported_or_changes_no_label(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x41
    path.write_bytes(data)
    try:
        with Journal.reading(path) as journal:
            assert [journal.labels(round, 2) for round in (0, 1)] == [Labels((True, True))] * 2
    except HeroError as error:
        assert error.exit_code == ExitCode.RUN and "\n" not in error.message


def test_a_round_that_is_submitted_takes_no_mark(journal: Journal) -> None:
    with refused(ExitCode.USAGE, "round 1 is submitted: its labels are final"):
        journal.mark(0, [Mark(0, "bad")], source="person")
    journal.mark(1, [Mark(0, "bad")], source="person")
    assert journal.labels(0, 2) == Labels((True, True))
    assert journal.labels(1, 2) == Labels((False, True))


def test_a_full_disk_exits_with_3_and_stores_no_half_step(journal: Journal) -> None:
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    given = 0
    with refused(ExitCode.ENVIRONMENT, f"cannot write {journal.path}: ", "full"):
        while given < 10_000:
            journal.mark(1, [Mark(0, "good"), Mark(1, "bad")], source="person")
            given += 1
    assert len(journal.history(1)) == 3 + 2 * given
    journal._db.execute(f"PRAGMA max_page_count = {pages + 100}")
    journal.mark(1, [Mark(0, "bad")], source="person")
    assert len(journal.history(1)) == 4 + 2 * given


def test_a_reader_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with Journal.reading(path) as journal:
        assert journal.labels(0, 2) == Labels((True, True))
        with refused(ExitCode.ENVIRONMENT, "cannot write", "readonly"):
            journal.mark(1, [Mark(0, "bad")], source="person")
    assert path.read_bytes() == before


def test_a_journal_at_rest_on_a_disk_that_takes_not_even_a_lock_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by a stand-in for SQLite, since root may write anywhere."""
    real = sqlite3.connect

    def connect(name: str, **options: object) -> sqlite3.Connection:
        if "mode=ro" in str(name):
            return real(f"{path.as_uri()}.gone?mode=ro", uri=True)
        return real(name, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with Journal.reading(path) as journal:
        assert journal.labels(0, 2) == Labels((True, True))
    path.with_name("journal.db-wal").write_bytes(b"marks that are not in the file yet")
    with refused(ExitCode.ENVIRONMENT, "cannot write", path):
        Journal.reading(path)
