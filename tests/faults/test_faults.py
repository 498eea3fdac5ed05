"""A part of `python -m tests.faults`: no fault loses a label, and none changes a run."""

from collections.abc import Callable

import pytest
from disks import full, on_small_disks, over_quota, read_only
from instants import Act
from trials import Subject, failing_at, killed_again_and_again, killed_at


@pytest.mark.parametrize("update", ["ddpo", "forward"])
def test_a_run_killed_at_any_instant_ends_the_same(
    subjects: Callable[[str], Subject], update: str
) -> None:
    """Every 61st here, beginning elsewhere for each update; the command takes each."""
    subject = subjects(update)
    last = len(subject.instants)
    tally = killed_at(subject, list(range(5 if update == "ddpo" else 35, last, 61)))
    assert tally.faults > 5 and tally.labels > tally.faults
    assert (tally.lost, tally.different) == (0, [])


def test_every_kind_of_instant_is_among_them(subjects: Callable[[str], Subject]) -> None:
    kinds = {"open", "flush", "os.rename", "os.remove", "os.mkdir", "step", "sql COMMIT"}
    assert kinds <= set(subjects("ddpo").instants)


def test_killed_again_and_again(subjects: Callable[[str], Subject]) -> None:
    tally = killed_again_and_again(subjects("forward"), 5, seed=1)
    assert (tally.lost, tally.different) == (0, [])


@pytest.mark.parametrize(
    ("act", "count", "words"),
    [
        (full, 5, "No space left on device"),
        (read_only, 2, "Read-only file system"),
        (over_quota, 2, "Disk quota exceeded"),
    ],
)
def test_a_disk_that_takes_no_more_stops_a_run_in_one_line(
    subjects: Callable[[str], Subject], act: Act, count: int, words: str
) -> None:
    subject = subjects("ddpo")
    files = [at for at, name in enumerate(subject.instants, 1) if not name.startswith("s")]
    tally = failing_at(subject, files[len(files) // 3 :: len(files) // count], act)
    assert (tally.lost, tally.different) == (0, [])
    assert any(tally.said) and all(words in line for line in tally.said if line)


def test_a_small_disk(subjects: Callable[[str], Subject]) -> None:
    """A true one, where the tests run as root; SQLite finds it full as well."""
    tally = on_small_disks(subjects("forward"), [40, 120, 240])
    assert (tally.lost, tally.different) == (0, [])
