"""How far a step has come, and how long it will still take."""

from __future__ import annotations

import time

INTERVAL = 0.1
"""Seconds between two reports: a person sees no more, and an event loop should not either."""


class Stopwatch:
    """Measures one step of a round from its creation on."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._first_done: int | None = None

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def due(self, done: int, total: int) -> bool:
        """Whether it is time for another report: the first, the last, and one every interval."""
        now = time.monotonic()
        if self._first_done is None:
            self._first_done = done
        elif done < total and now - self._last < INTERVAL:
            return False
        self._last = now
        return True

    def seconds_left(self, done: int, total: int) -> float | None:
        """At the pace so far; None before there is one.

        What was done before the first report (a resumed round) does not count as fast.
        """
        before = 0 if self._first_done in (None, done) else int(self._first_done or 0)
        worked = done - before
        if worked <= 0:
            return None
        return round(self.elapsed() * (total - done) / worked, 1)
