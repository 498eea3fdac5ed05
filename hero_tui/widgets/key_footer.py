"""The line of keys at the bottom, from the registry."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

SEPARATOR = "  "


class KeyFooter(Widget):
    """Keys and their names; the last ones give way on a narrow terminal."""

    DEFAULT_CSS = "KeyFooter { height: 1; width: 1fr; }"

    def __init__(self, keys: Sequence[tuple[str, str]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys = keys
        self._text = ""

    def show(self, keys: Sequence[tuple[str, str]]) -> None:
        """Other keys."""
        self._keys = keys
        self.refresh()

    def show_text(self, text: str) -> None:
        """Show this text in place of the keys; "" brings the keys back."""
        if text != self._text:
            self._text = text
            self.refresh()

    def render(self) -> Content:
        """As many whole entries as fit, or the text."""
        if self._text:
            return Content(self._text)
        line = Content("")
        for key, name in self._keys:
            entry = Content.assemble((key, "bold $accent"), " ", (name, "$quiet"))
            longer = Content.assemble(line, SEPARATOR if line else "", entry)
            if longer.cell_length > self.content_size.width:
                break
            line = longer
        return line
