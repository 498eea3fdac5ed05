"""The clock may jump, also backwards: the result of a run does not depend on it."""

import time
from collections.abc import Callable
from itertools import count

import pytest
from interrupted import Process, assert_same

from hero_engine.core.errors import StopRequested
from hero_engine.storage.journal import Journal


@pytest.mark.parametrize("step", [-3600.0, 1e9, 0.0])
def test_a_clock_that_jumps_changes_nothing(
    processes: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch, update: str, step: float
) -> None:
    """Every reading shows another hour; in between the run is stopped and resumed."""
    process, name = processes(update), f"clock-{step}"
    looks = count()
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: 1.7e9 + step * next(looks))
        with pytest.raises(StopRequested):
            process.run(name, 15)
        process.run(name)
    assert next(looks) > 3
    assert_same(process, name)
    with Journal.reading(process.folder(name).journal_path) as journal:
        times = [row.time for round in (0, 1) for row in journal.history(round)]
    assert (times == sorted(times)) == (step >= 0)
