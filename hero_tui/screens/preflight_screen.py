"""Before a long run: what it will need, and whether to continue."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from hero_engine.core.events import Preflight
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.input_guards import NO_GUARDS, Guards
from hero_tui.session.preflight_words import preflight_rows
from hero_tui.session.run_state import RunState

QUESTION = "Continue? {preflight_leave}: yes. {leave_hero} stops; hero resume continues later."
CHEAPER = (
    "Cheaper: fewer rounds (--rounds 4), fewer pictures (--batch 16), fewer steps "
    "(--set sampler.steps=20). Quit first: a run keeps its settings."
)
NAME = 14
"""Cells of a figure's name."""


class PreflightScreen(BaseScreen[None], inherit_bindings=False):
    """Asks once, while the first pictures are drawn: no answer loses them."""

    place = keymap.PREFLIGHT

    def __init__(
        self,
        keys: Keymap,
        state: RunState,
        needs: Preflight,
        guards: Guards = NO_GUARDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(keys, state)
        self._needs, self._guards, self._clock = needs, guards, clock
        self._came_up = clock()

    def compose(self) -> ComposeResult:
        """The figures, the question, the keys."""
        yield from self.status_row()
        rows = [f"{name:<{NAME}}{figure}" for name, figure in preflight_rows(self._needs)]
        heading = Content.styled("What this run needs", "bold $accent")
        yield Static(Content("\n").join([heading, *map(Content, rows)]), id="preflight-figures")
        yield Static(Content.styled(self.keys.told(QUESTION), "bold"), id="preflight-question")
        yield Static(Content.styled(CHEAPER, "$quiet"), id="preflight-cheaper")
        yield from self.key_row()

    def action_leave(self) -> None:
        """Go to the pictures; an Enter that was meant for something else does not."""
        if self._clock() - self._came_up >= self._guards.menu:
            self.dismiss()
