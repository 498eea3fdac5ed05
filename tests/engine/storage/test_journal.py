"""Labels are durable at once, and are the result of the marks."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import PowerCut, cut

from hero_engine.config.prompts import PromptPlan
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.labels import Labels, Mark
from hero_engine.storage.journal import Journal
from hero_engine.storage.learned_labels import learned_labels

BATCH = 6
VALUES = ("good", "bad", "clear", "best", "unbest")
marks = st.lists(st.builds(Mark, st.integers(0, BATCH - 1), st.sampled_from(VALUES)), max_size=40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Journal:
    journal = Journal(path)
    journal.add_round(0)
    return journal


def labels_of(changes: Sequence[Mark]) -> Labels:
    """What the marks should come to, told as a person would: the best is a crown that is passed on.

    Whoever wears it is good; it falls when its wearer is no longer good, or gives it up.
    """
    goods, bads, crown = set[int](), set[int](), set[int]()
    for mark in changes:
        one = {mark.image}
        goods, bads = goods - one, bads - one
        if mark.value == "bad":
            bads |= one
        elif mark.value != "clear":
            goods |= one
        if mark.value == "best":
            crown = one
        elif mark.value != "good":
            crown -= one
    good = tuple(True if i in goods else False if i in bads else None for i in range(BATCH))
    return Labels(good, tuple(crown))


def first_good_of(changes: Sequence[Mark]) -> int | None:
    """The picture at the head of a queue that the good stand in until they are good no more."""
    queue: list[int] = []
    for mark in changes:
        if mark.value in ("bad", "clear"):
            queue = [image for image in queue if image != mark.image]
        elif mark.image not in queue:
            queue.append(mark.image)
    return queue[0] if queue else None


@given(st.lists(marks, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_labels_are_the_result_of_the_marks(steps: list[list[Mark]]) -> None:
    with TemporaryDirectory() as folder, Journal(Path(folder) / "journal.db") as journal:
        for step in steps:
            journal.mark(0, step, source="person")
        given_marks = [mark for step in steps for mark in step]
        assert journal.labels(0, BATCH) == labels_of(given_marks)
        assert journal.marks(0, BATCH).first_good() == first_good_of(given_marks)
        assert [Mark(row.image, row.value) for row in journal.history(0)] == given_marks


def test_the_best_moves_and_the_old_one_stays_good(journal: Journal) -> None:
    journal.mark(0, [Mark(1, "best"), Mark(2, "bad")], source="person")
    journal.mark(0, [Mark(3, "best")], source="person")
    assert journal.labels(0, 4) == Labels((None, True, False, True), bests=(3,))
    journal.mark(0, [Mark(3, "clear")], source="person")
    assert journal.labels(0, 4) == Labels((None, True, False, None), bests=())


def test_marks_of_pictures_that_the_round_has_not_are_left_out(journal: Journal) -> None:
    journal.mark(0, [Mark(-1, "good"), Mark(4, "best"), Mark(0, "good")], source="a file")
    assert journal.labels(0, 4) == Labels((True, None, None, None))


def test_an_undo_is_a_mark_and_appears_in_the_history(journal: Journal) -> None:
    journal.mark(0, [Mark(1, "good"), Mark(2, "good")], source="person")
    journal.mark(0, [Mark(1, "clear")], source="person", kind="undo")
    rows = [(row.step, row.image, row.value, row.kind) for row in journal.history(0)]
    assert rows == [(1, 1, "good", "mark"), (1, 2, "good", "mark"), (2, 1, "clear", "undo")]
    assert journal.labels(0, 3) == Labels((None, None, True))


def test_rounds_do_not_see_each_other(journal: Journal) -> None:
    journal.add_round(1)
    journal.mark(0, [Mark(0, "best")], source="judge")
    journal.mark(1, [Mark(0, "bad")], source="judge")
    journal.submit(1)
    assert (journal.labels(0, 1), journal.labels(1, 1)) == (Labels((True,), (0,)), Labels((False,)))
    assert (journal.submitted(0), journal.submitted(1), journal.submitted(2)) == (0, 1, 0)


def test_a_round_goes_through_its_phases_and_keeps_its_figures(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.current() is None and journal.metrics() == []
        journal.add_round(0)
        assert journal.current() == (0, "sampling")
        journal.set_phase(0, "labelling")
        journal.add_round(0)  # a resume begins the round again
        assert journal.current() == (0, "labelling")
        journal.finish_round(0, {"labels_total": 4, "reward": None})
        assert journal.current() == (0, "done")
        journal.add_round(1)
        assert journal.current() == (1, "sampling")
        journal.finish_round(1, {"labels_total": 8})
        assert journal.metrics() == [{"labels_total": 4, "reward": None}, {"labels_total": 8}]


def test_everything_is_there_after_reopening(path: Path, journal: Journal) -> None:
    journal.add_images(0, {1: "images/b.png", 0: "images/old.png"})
    journal.add_images(0, {0: "images/a.png"})
    journal.mark(0, [Mark(0, "best")], source="person")
    journal.submit(0)
    history = journal.history(0)
    journal.close()
    with Journal(path) as again:
        assert list(again.images(0).items()) == [(0, "images/a.png"), (1, "images/b.png")]
        assert again.images(1) == {}
        assert again.history(0) == history
        assert again.submitted(0) and again.labels(0, 2) == Labels((True, None), (0,))
        again.mark(1, [Mark(1, "bad")], source="person")
        assert [row.step for row in again.history(1)] == [2]


WRITER = """
import sys
from pathlib import Path
from hero_engine.core.labels import Mark
from hero_engine.storage.journal import Journal

journal = Journal(Path(sys.argv[1]))
journal.add_round(0)
for image in range(1_000_000):
    journal.mark(0, [Mark(image, "good"), Mark(image, "best")], source="person")
    print(image, flush=True)
"""


def test_a_kill_in_the_middle_of_writing_loses_no_mark_that_was_given(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 20:
            pass
        writer.kill()
        last = max([20, *map(int, writer.stdout.read().split("\n")[:-1])])
    assert writer.returncode == -signal.SIGKILL
    with Journal(path) as journal:
        rows = journal.history(0)
        assert [row.image for row in rows[::2]] == list(range(len(rows) // 2))
        assert len(rows) % 2 == 0 and len(rows) // 2 in (last + 1, last + 2)  # whole steps only
        labels = journal.labels(0, last + 1)
        assert labels.good == (True,) * (last + 1)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_mark_survives_a_crash_of_the_machine_too(journal: Journal) -> None:
    """What SQLite promises so only with these two."""
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_step_is_written_whole_or_not_at_all(journal: Journal) -> None:
    broken = Mark(1, object())  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        journal.mark(0, [Mark(0, "good"), broken], source="person")
    assert journal.history(0) == []
    journal.mark(0, [Mark(0, "good")], source="person")
    assert len(journal.history(0)) == 1


def test_marks_and_their_submission_are_one_step(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.add_round(0)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_put", cut)
        with pytest.raises(PowerCut):
            journal.mark(0, [Mark(0, "good")], source="file", submit=True)
    with Journal(path) as again:
        assert again.history(0) == [] and not again.submitted(0)
    journal.mark(0, [Mark(0, "good")], source="file", submit=True)
    with Journal(path) as again:
        assert again.labels(0, 1) == Labels((True,)) and again.submitted(0)


def test_engine_and_app_write_at_once(path: Path, journal: Journal) -> None:
    """Each through its own connection, in its own thread: no mark is lost, no step is shared."""
    steps, errors = 60, list[Exception]()

    def engine() -> None:
        try:
            with Journal(path) as other:
                for image in range(steps):
                    other.add_images(0, {image: f"{image}.png"})
                    other.mark(0, [Mark(image, "good")] * 2, source="judge")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=engine)
    thread.start()
    for image in range(steps):
        journal.mark(0, [Mark(image, "bad")] * 2, source="person")
        journal.images(0)
    thread.join()
    assert errors == []
    rows = journal.history(0)
    assert len(journal.images(0)) == steps and len(rows) == 4 * steps
    for source in ("judge", "person"):
        assert [row.image for row in rows if row.source == source][::2] == list(range(steps))
    assert len({(row.step, row.source) for row in rows}) == len({row.step for row in rows})


@pytest.mark.parametrize("content", [b"no journal" * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_not_a_journal_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(HeroError, match=r"journal.db cannot be read: ") as error:
        Journal(path)
    assert error.value.exit_code == ExitCode.RUN
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HeroError, match="cannot be read") as error:
        Journal(tmp_path / "gone" / "journal.db")
    assert error.value.exit_code == ExitCode.RUN


def test_a_prompts_first_good_picture_stands_in_once_as_its_best(journal: Journal) -> None:
    """Prompt 0 has pictures 0 and 1, prompt 1 has 2 and 3; its first good ones come in round 1."""
    plan = PromptPlan(("a", "b"))
    marked: list[list[Mark]] = [
        [Mark(1, "good"), Mark(0, "good"), Mark(2, "bad")],
        [Mark(0, "good"), Mark(3, "good"), Mark(2, "best")],
        [Mark(0, "good"), Mark(2, "good")],
    ]
    for round, marks in enumerate(marked):
        journal.add_round(round)
        journal.mark(round, marks, source="person", submit=True)
    found = learned_labels(journal, plan, 4, 3)
    assert [each.bests for each in found] == [(1,), (2,), ()]
    assert [each.best_assumed for each in found] == [True, False, False]
