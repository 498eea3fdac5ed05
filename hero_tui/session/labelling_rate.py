"""Labelling rate: labels per minute, without pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 20.0
"""Seconds without a key that count at most: longer is a pause, not slowness."""

ENOUGH = 5.0
"""Seconds before the figure means something."""


class LabellingRate:
    """Counts labels per minute, from marks and committed pages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._seconds = 0.0
        self._labels = 0

    def worked(self, labels: int = 0) -> None:
        """The person did something now, which settled this many labels."""
        now = self._clock()
        if self._last is not None:
            self._seconds += min(PAUSE, now - self._last)
        self._last = now
        self._labels += labels

    def rest(self) -> None:
        """There is nothing to label now; the time until the next key does not count."""
        self._last = None

    @property
    def per_minute(self) -> float | None:
        """Labels a minute; None while little is known."""
        known = self._labels and self._seconds >= ENOUGH
        return 60 * self._labels / self._seconds if known else None
