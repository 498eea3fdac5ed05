"""All keys, from the registry."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from hero_tui import keymap

TITLES = {
    keymap.LABELLING: "On the page",
    keymap.ZOOM: "In the zoom",
    keymap.EVERYWHERE: "Everywhere",
}
KEY_WIDTH = 20


class HelpScreen(Screen[None], inherit_bindings=False):
    """Any of the leaving keys goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,space,enter,q", "leave", "back")
    ]

    def compose(self) -> ComposeResult:
        """A table in three parts."""
        with Vertical(id="help"):
            yield Static(_text())

    def action_leave(self) -> None:
        """Back to where help was asked for."""
        self.dismiss()


def _text() -> Content:
    lines = []
    for where, actions in groupby(keymap.ACTIONS, key=lambda action: action.where):
        lines.append(Content.assemble((TITLES[where], "bold $accent")))
        lines += [
            Content.assemble((f"  {action.shown:<{KEY_WIDTH}}", "bold"), action.description)
            for action in actions
        ]
        lines.append(Content(""))
    lines.append(Content.assemble(("Every mark is saved at once. Esc goes back.", "$quiet")))
    return Content("\n").join(lines)
