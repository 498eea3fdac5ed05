"""The first time: four sentences before the first picture."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.widgets import Static

from hero_tui.keyboard import keymap
from hero_tui.keyboard.unknown_keys import said_of
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.widgets.status_line import success
from hero_tui.widgets.text_line import TextLine

SENTENCES = (
    "You will see pictures that the model draws; you say which are good.",
    "Press the letter of every good picture, and Shift with the letter of the best one.",
    "{commit} makes the rest of the page bad and shows the next page; the last page ends the "
    "round.",
    "The model learns from the round and draws the next one; {help} shows every key.",
)
NOT_YET = "marks nothing yet"


class WelcomeScreen(BaseScreen[None], inherit_bindings=False):
    """Says what to do, while the model is opened."""

    place = keymap.WELCOME

    def compose(self) -> ComposeResult:
        """What good means, the sentences, the keys."""
        yield from self.status_row()
        with Vertical(id="welcome"):
            yield Static(success(self._state), id="welcome-good")
            told = self.keys.told("\n\n".join(SENTENCES))
            yield Static(Content(told), id="welcome-text")
        yield TextLine(id="welcome-message")
        yield from self.key_row()

    def unknown_key(self, event: Key) -> None:
        """Letters do nothing before the first page: say so."""
        said = said_of(event, self.keys, NOT_YET)
        self.query_one("#welcome-message", TextLine).show(Content(said))

    def action_leave(self) -> None:
        """Go to the pictures."""
        self.dismiss()
