"""All keys, from the registry."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import ItemGrid, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from hero_tui.keyboard.keymap import HEADINGS, HELP, SCREENS, Keymap

KEY_WIDTH = 19
SAVED = "Every mark is saved at once. Esc goes back."


class HelpScreen(Screen[None], inherit_bindings=False):
    """What can be typed on the screen it was called from comes first."""

    place = HELP

    def __init__(self, keys: Keymap, place: str) -> None:
        super().__init__()
        self._bindings = keys.bindings(HELP)
        self._keys, self._first = keys, place

    def compose(self) -> ComposeResult:
        """All actions by where they work, in as many columns as there is room for."""
        with VerticalScroll(id="help"):
            with ItemGrid(min_column_width=KEY_WIDTH + 50, id="help-columns"):
                yield from (Static(part) for part in _parts(self._keys, self._first))
            yield Static(Content.assemble((SAVED, "$quiet")))

    def action_leave(self) -> None:
        """Back to where help was asked for."""
        self.dismiss()


def _parts(keys: Keymap, first: str) -> Iterator[Content]:
    for where in dict.fromkeys([*SCREENS.get(first, ()), *HEADINGS]):
        lines = [
            Content.assemble((f"  {action.shown:<{KEY_WIDTH}} ", "bold"), action.description)
            for action in keys.actions
            if action.where == where
        ]
        heading = Content.assemble((HEADINGS[where], "bold $accent"))
        yield Content("\n").join([heading, *lines, Content("")])
