"""The end of a run: its result, and a menu of next steps."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from hero_engine.core.numbering import counted
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.input_guards import NO_GUARDS, Guards
from hero_tui.session.next_step import NextStep, choices
from hero_tui.session.run_state import RunState
from hero_tui.widgets.text_line import TextLine

POINTER = "▸"
TOO_SOON = (
    "{end_choose} came right as this menu opened. Choose with {end_up} and {end_down}, then press "
    "{end_choose}."
)


class EndScreen(BaseScreen[NextStep | None], inherit_bindings=False):
    """Leaving gives the chosen step, or None to look at the pictures."""

    place = keymap.END

    def __init__(
        self,
        keys: Keymap,
        state: RunState,
        guards: Guards = NO_GUARDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(keys, state)
        self.chosen = 0
        self._rows = choices(state.opened.model if state.opened else "")
        self._guards, self._clock = guards, clock
        self._came_up = clock()

    def compose(self) -> ComposeResult:
        """The result, the choices, the keys."""
        yield from self.status_row()
        yield Static(self._result(), id="end-result")
        yield Static(self._choices(), id="end-choices")
        yield TextLine(id="end-message")
        yield from self.key_row()

    def action_up(self) -> None:
        """The choice above, around the end."""
        self._move(-1)

    def action_down(self) -> None:
        """The choice below, around the end."""
        self._move(1)

    def action_choose(self) -> None:
        """Leave with the choice; an Enter that was meant for the page before chooses nothing."""
        if self._clock() - self._came_up < self._guards.menu:
            self.query_one("#end-message", TextLine).show(Content(self.keys.told(TOO_SOON)))
            return
        self.dismiss(self._rows[self.chosen].step)

    def action_leave(self) -> None:
        """Look at the pictures."""
        self.dismiss(None)

    def _move(self, step: int) -> None:
        self.chosen = (self.chosen + step) % len(self._rows)
        self.query_one("#end-choices", Static).update(self._choices())

    def _result(self) -> Content:
        state = self._state
        rounds = len(state.rounds)
        lines = [
            Content.styled(
                f"Finished: {state.labels} labels in {counted(rounds, 'round')}.", "bold"
            )
        ]
        known = [share for share in state.shares if share is not None]
        if len(known) > 1:
            first, last = (f"{share:.0%}" for share in (known[0], known[-1]))
            lines.append(Content(f"Good at the start {first}, at the end {last}."))
        return Content("\n").join(lines)

    def _choices(self) -> Content:
        rows = []
        for index, choice in enumerate(self._rows):
            here = index == self.chosen
            pointer = f"{POINTER} " if here else "  "
            rows.append(Content.styled(f"{pointer}{choice.text}", "bold $accent" if here else ""))
            rows.append(Content.styled(f"    {choice.explanation}", "$quiet"))
        return Content("\n").join(rows)
