"""Marks that are lost with a damaged write-ahead log are named, and the log is kept."""

import re
import shutil
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.labels import Mark, MarkValue
from hero_engine.storage.journal import Journal

MARKS: list[tuple[int, MarkValue]] = [(0, "good"), (1, "bad"), (2, "good"), (0, "bad"), (3, "best")]
BATCH = 4


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder of a journal whose process was killed: its marks are in the write-ahead log."""
    folder = tmp_path / "alive"
    folder.mkdir()
    journal = Journal(folder / "journal.db")
    journal.add_round(0)
    for image, value in MARKS:
        journal.mark(0, [Mark(image, value)], source="person")
    left = shutil.copytree(folder, tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    journal.close()
    assert (left / "journal.db-wal").stat().st_size
    return Path(left)


def marks(folder: Path) -> list[tuple[int, MarkValue]]:
    with Journal(folder / "journal.db") as journal:
        return [(row.image, row.value) for row in journal.history(0)]


def test_steps_are_whole_after_a_kill(killed: Path) -> None:
    assert marks(killed) == MARKS


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8, 0.9, 0.99])
def test_a_damaged_log_is_named_and_kept(killed: Path, share: float) -> None:
    """Refused once with what is lost; the next opening continues with the marks before it."""
    log = killed / "journal.db-wal"
    data = bytearray(log.read_bytes())
    data[int(share * len(data))] ^= 0x41
    log.write_bytes(data)
    with pytest.raises(HeroError) as error:
        Journal(killed / "journal.db")
    assert error.value.exit_code == ExitCode.RUN
    assert "run it again to continue" in error.value.message
    assert (killed / "journal.db-wal.damaged").read_bytes() == bytes(data)
    kept = marks(killed)
    assert kept == MARKS[: len(kept)]
    (lost,) = re.findall(r"(\d+) marks? of round 1", error.value.message)
    assert int(lost) == len(MARKS) - len(kept)
    with Journal(killed / "journal.db") as journal:
        journal.mark(0, [Mark(3, "good")], source="person")
    assert marks(killed) == [*kept, (3, "good")]


def test_every_byte_of_the_last_mark_is_watched(killed: Path, tmp_path: Path) -> None:
    """Whatever byte of the log's last page is damaged: the mark is there, or its loss is named."""
    whole = (killed / "journal.db-wal").read_bytes()
    for at in range(len(whole) - 4120, len(whole), 97):
        copy = Path(shutil.copytree(killed, tmp_path / f"at-{at}"))
        data = bytearray(whole)
        data[at] ^= 0x10
        (copy / "journal.db-wal").write_bytes(data)
        try:
            assert marks(copy) == MARKS
        except HeroError as error:
            assert "1 mark of round 1 (image 4)" in error.message


def test_a_lost_log_is_a_loss_too(killed: Path) -> None:
    (killed / "journal.db-wal").unlink()
    with refused(ExitCode.RUN, "5 marks of round 1 (images 1, 2, 3, 4) lost"):
        Journal(killed / "journal.db")
    assert not (killed / "journal.db-wal.damaged").exists()


def test_inspection_changes_nothing(killed: Path) -> None:
    """`hero status` says what is lost, and leaves the files to `hero resume`."""
    log = killed / "journal.db-wal"
    log.write_bytes(log.read_bytes()[:-4000])
    before = {path.name: path.read_bytes() for path in killed.iterdir() if path.suffix != ".db-shm"}
    for _ in range(2):
        with refused(ExitCode.RUN, "1 mark of round 1 (image 4) lost"):
            Journal.reading(killed / "journal.db")
    assert all((killed / name).read_bytes() == content for name, content in before.items())


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "flipped", "another"])
def test_damage_to_the_second_record_claims_nothing(killed: Path, damage: str) -> None:
    path = killed / "marks.log"
    data = path.read_bytes()
    assert len(data.splitlines()) == len(MARKS)
    content = {
        "empty": b"",
        "cut": data[:-9],
        "flipped": data.replace(b"5 0 3", b"9 0 3"),
        "another": b"\x00\xff\n" * 9 + b"99 0 1 good 00000000\n",
    }
    path.unlink() if damage == "gone" else path.write_bytes(content[damage])
    assert marks(killed) == MARKS


def test_a_journal_without_a_second_record_opens(killed: Path) -> None:
    """As version 0.1.0 left it; the record begins with the next mark."""
    (killed / "marks.log").unlink()
    with Journal(killed / "journal.db") as journal:
        journal.mark(0, [Mark(1, "good")], source="person")
    assert marks(killed) == [*MARKS, (1, "good")]
    assert (killed / "marks.log").read_text().startswith("6 0 1 good ")
