"""Undo and redo: states in a row, and which of them is current."""

from __future__ import annotations

from typing import Generic, TypeVar

State = TypeVar("State")


class UndoHistory(Generic[State]):
    """Every state so far, oldest first. Undo and redo move along the row; a new state ends it."""

    def __init__(self, first: State) -> None:
        self._states, self._at = [first], 0

    @property
    def current(self) -> State:
        """The state that holds now."""
        return self._states[self._at]

    @property
    def position(self) -> int:
        """How many states lie before the current one."""
        return self._at

    @property
    def earlier(self) -> State | None:
        """The state that undo leads to; None at the first."""
        return self._states[self._at - 1] if self._at else None

    @property
    def later(self) -> State | None:
        """The state that redo leads to; None at the last."""
        return self._states[self._at + 1] if self._at + 1 < len(self._states) else None

    def add(self, state: State) -> None:
        """Make a new state the current one. What was undone cannot be redone after that."""
        self._at += 1
        self._states[self._at :] = [state]

    def undo(self) -> None:
        """Move to `earlier`; stay where there is none."""
        self._at = max(0, self._at - 1)

    def redo(self) -> None:
        """Move to `later`; stay where there is none."""
        self._at = min(self._at + 1, len(self._states) - 1)
