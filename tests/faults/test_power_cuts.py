"""Torn and unordered writes: no mark that was shown is lost."""

import pytest
from power_cuts import Play, on, play, power_cuts
from write_log import WriteLog

CUTS = 120


@pytest.fixture(params=["ext4", "nfs"])
def played(request: pytest.FixtureRequest) -> Play:
    """Recorded with a write-ahead log, and with a rollback journal."""
    log = WriteLog()
    if not log.possible:
        pytest.skip("Python's SQLite is not a shared library")
    with on(request.param):
        return play(log)


def test_no_mark_that_was_shown_is_lost(played: Play) -> None:
    files = {each.file for each in played.operations}
    assert {"journal.db", "marks.log"} < files
    assert all(played.operations[at - 1].flushes for at in played.shown)
    tally = power_cuts(played, CUTS, seed=1)
    assert tally.labels > 20 * CUTS
    assert (tally.lost, tally.different) == (0, [])


def test_the_replay_finds_losses_if_nothing_is_flushed(played: Play) -> None:
    tally = power_cuts(played.unflushed(), CUTS // 3, seed=1)
    assert tally.lost > tally.labels / 4
