"""What all screens of a run share: status line, keys, and one layout per resize."""

from __future__ import annotations

from collections.abc import Iterator

from textual.events import Key, Resize
from textual.screen import Screen, ScreenResultType
from textual.widget import Widget

from hero_tui.keyboard.keymap import Keymap
from hero_tui.keyboard.unknown_keys import said_of
from hero_tui.session.run_state import RunState
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.message_wrap import shortened
from hero_tui.widgets.static_widgets import StaticWidget
from hero_tui.widgets.status_line import status_line
from hero_tui.widgets.text_line import TextLine


class BaseScreen(Screen[ScreenResultType], StaticWidget, inherit_bindings=False):
    """A screen with the run's status on its first row and its keys on the last.

    `place` is the part of the keymap that holds on it.
    """

    place: str

    def __init__(self, keys: Keymap, state: RunState) -> None:
        super().__init__()
        self.keys = keys
        self._bindings = keys.bindings(self.place)
        self._state = state
        self._lay_out_due = False

    def status_row(self) -> Iterator[Widget]:
        """The first row: the run's state, and whether it is the person's turn."""
        yield TextLine(id="status")

    def key_row(self) -> Iterator[Widget]:
        """The last row: the keys that work here."""
        yield KeyFooter(self.keys.footer(self.place), id="keys")

    def show_state(self, state: RunState) -> None:
        """The run's state has changed."""
        self._state = state
        self.refresh_status()

    def refresh_status(self) -> None:
        """Write the status line, where it differs."""
        if self.is_mounted and (line := self.query("#status")):
            standing = status_line(self._state, self.size.width)
            line.only_one(TextLine).show(standing)

    def on_resize(self, event: Resize) -> None:
        """Lay out once for the newest size.

        Textual answers a resize with another one to the screen itself. Two sizes at once, while
        widgets are mounted, would answer each other for ever; one that is outdated is dropped.
        """
        if event.size != self.app.size:
            event.prevent_default()
            return
        self.take_size(event)
        if not self._lay_out_due:
            self._lay_out_due = True
            self.call_after_refresh(self._lay_out)

    def take_size(self, event: Resize) -> None:
        """A new size of the terminal came; `lay_out` follows."""

    def on_screen_resume(self) -> None:
        """This screen is on top now; the one before left its pictures."""
        self.pictures_changed()

    def pictures_changed(self) -> None:
        """Announce to the terminal, if there is one, that other pictures follow."""
        pictures = getattr(self.app, "pictures", None)
        if pictures is not None:
            pictures.page_changed()

    def use_cell(self, cell: tuple[int, int]) -> None:
        """A cell of the terminal has this size now, or pictures are drawn in another way."""
        self._cell = cell
        self.call_after_refresh(self._lay_out)

    def unknown_key(self, event: Key) -> None:
        """A key came that does nothing here: say so in the row of keys, until the next one."""
        self._say_of_key(said_of(event, self.keys))

    def known_key(self) -> None:
        """A key came that does something."""
        self._say_of_key("")

    def _say_of_key(self, text: str) -> None:
        for footer in self.query(KeyFooter):
            footer.show_text(shortened(text, self.size.width))

    def names_changed(self) -> None:
        """The page below has another grid, so its pictures have other names."""

    def lay_out(self) -> None:
        """Fit the content to the space there is."""

    def _lay_out(self) -> None:
        self._lay_out_due = False
        if self.is_mounted:
            self.refresh_status()
            self.lay_out()
