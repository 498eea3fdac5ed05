"""Guards against input that no person meant: pastes, double Enters, clicks that raise a window."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Guards:
    """Limits of the guards, in seconds.

    menu: Enter chooses nothing so soon after the menu at the end came up.
    page: Enter does nothing so soon after a page came up, unless a mark was made on it.
    burst_keys in burst_seconds: that many keys are a paste or a stuck macro, not a person.
    quiet: a burst ends after so long without a key.
    focus: a click so soon after (or before) the window got the focus only raised it.
    ask_unmarked: a page without any mark is committed by a second Enter.
    """

    menu: float = 1.0
    page: float = 0.5
    burst_keys: int = 6
    burst_seconds: float = 0.05
    quiet: float = 0.3
    focus: float = 0.4
    ask_unmarked: bool = True


NO_GUARDS = Guards(
    menu=0, page=0, burst_keys=1 << 30, burst_seconds=0, quiet=0, focus=0, ask_unmarked=False
)
"""No guards, for a program that types faster than a person, such as a benchmark."""


class RaisingClick:
    """Tells a click that only raised the terminal's window from one that was meant for a picture.

    The button goes down while the window has no focus, or shortly before or after it got it: which
    of the two a terminal reports first is not the same everywhere. How long the button is held
    counts for nothing.
    """

    def __init__(self, guards: Guards, clock: Callable[[], float]) -> None:
        self._guards, self._clock = guards, clock
        self._focused_at = self._pressed_at = -math.inf
        self._away = self._pressed_away = False

    def focused(self) -> None:
        """The window got the focus."""
        self._focused_at, self._away = self._clock(), False

    def left(self) -> None:
        """The window lost the focus."""
        self._away = True

    def pressed(self) -> None:
        """A button of the mouse went down."""
        self._pressed_at, self._pressed_away = self._clock(), self._away

    @property
    def raised(self) -> bool:
        """Whether the click that just ended only raised the window."""
        near = abs(self._pressed_at - self._focused_at) < self._guards.focus
        return self._guards.focus > 0 and (near or self._pressed_away)


class BurstDetector:
    """Detects keys that no person typed, by their times."""

    def __init__(self, guards: Guards) -> None:
        self._guards = guards
        self._times: deque[float] = deque(maxlen=max(1, min(guards.burst_keys, 64)))
        self._in_burst = False

    @property
    def starting(self) -> bool:
        """Whether the last key may be the first of a burst: none came shortly before it."""
        return len(self._times) == 1

    def pressed(self, now: float) -> bool:
        """A key was pressed; whether it belongs to a burst."""
        if self._times and now - self._times[-1] > self._pause:
            self._times.clear()
            self._in_burst = False
        self._times.append(now)
        if len(self._times) >= self._guards.burst_keys:
            recent = now - self._times[-self._guards.burst_keys] <= self._guards.burst_seconds
            self._in_burst = self._in_burst or recent
        return self._in_burst

    @property
    def _pause(self) -> float:
        return self._guards.quiet if self._in_burst else self._guards.burst_seconds
