"""Calls the person when a round is ready: the terminal's title and its bell."""

from __future__ import annotations

from collections.abc import Callable

from hero_engine.core.numbering import round_name
from hero_engine.core.sanitize import sanitized
from hero_tui.session.run_state import RunState

KEEP_TITLE, GIVE_TITLE_BACK = "\x1b[22;2t", "\x1b[23;2t"
"""The terminal's own stack of titles (XTWINOPS); a terminal without one ignores them."""

DOING = {
    "labelling": "is ready",
    "training": "is learned from",
    "sampling": "is being drawn",
    "done": "is done",
}


def title(state: RunState) -> str:
    """The title for the run's state, without control characters."""
    task = sanitized(state.opened.task) if state.opened else "hero"
    if state.phase in ("finished", "failed"):
        return f"hero: {task}, {state.phase}"
    doing = DOING.get("labelling" if state.elsewhere else state.phase)
    return f"hero: {task}, {round_name(state.round)} {doing}" if doing else f"hero: {task}"


class Attention:
    """Writes title and bell with `write`; the title only when it changed."""

    def __init__(self, write: Callable[[str], None], *, bell: bool) -> None:
        self._write, self._bell = write, bell
        self._title = ""

    def show(self, state: RunState) -> None:
        """The run's state has changed."""
        new = title(state)
        if new != self._title:
            self._write(("" if self._title else KEEP_TITLE) + f"\x1b]2;{new}\x1b\\")
            self._title = new

    def ring(self) -> None:
        """Something waits for the person."""
        if self._bell:
            self._write("\x07")

    def farewell(self) -> str:
        """What gives the terminal its own title back."""
        return GIVE_TITLE_BACK if self._title else ""
