"""Keeps the pictures right while the terminal changes: late answers, fonts, tmux, stops."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from textual.app import App

from hero_tui.graphics.choose_painter import draws_alike
from hero_tui.graphics.detect_terminal import Terminal, draws_placeholders
from hero_tui.graphics.painter import Painter
from hero_tui.graphics.tmux import watch_tmux
from hero_tui.terminal.driver import HeroDriver
from hero_tui.widgets.upload_queue import UploadQueue

LOSSES = 3
"""Times in a row that a page is sent again to a terminal that tmux drops it for."""


class TerminalPictures:
    """Sends pictures again, or in another way, when the terminal needs it.

    choose: the painter for a terminal; None keeps the one there is. say: shows a message, with
    the keys of the actions that it names. painted: called when pictures are drawn by another
    painter.
    """

    def __init__(
        self,
        app: App[Any],
        uploads: UploadQueue,
        terminal: Terminal,
        choose: Callable[[Terminal], Painter] | None,
        *,
        say: Callable[[str], None],
        painted: Callable[[Painter], None] = lambda painter: None,
    ) -> None:
        self._app, self._uploads = app, uploads
        self._terminal, self._choose = terminal, choose
        self._say, self._painted = say, painted

    def watch(self) -> None:
        """Watch for terminals that attach to tmux, and for changes of its window."""
        if self._terminal.tmux:
            told = self._attached, self.drawn_by_tmux, self._lost
            self._app.run_worker(watch_tmux(os.environ, self._uploads, *told), name="tmux")

    def changed(self, terminal: Terminal) -> None:
        """It answered late, or its cells have another size: show pictures the best way."""
        before, self._terminal = self._terminal, terminal
        painter = self._uploads.painter if self._choose is None else self._choose(terminal)
        if not draws_alike(painter, self._uploads.painter):
            self._uploads.use(painter)
            self._painted(painter)
        if terminal.hint and terminal.hint != before.hint:
            self._say(terminal.hint)
        for screen in self._app.screen_stack:
            use_cell = getattr(screen, "use_cell", None)
            if use_cell is not None:
                use_cell(terminal.cell)

    def redraw(self) -> None:
        """Send everything again: another program wrote on the terminal, or the app was stopped."""
        self._uploads.send_again()
        self._app.screen.refresh()
        if isinstance(self._app._driver, HeroDriver):
            self._app._driver.ask_cell()

    def page_changed(self) -> None:
        """Other pictures come: Konsole would show the old ones beside them, so it is cleared."""
        konsole = self._terminal.name.lower().startswith("konsole")
        if konsole and self._uploads.painter.name == "sixel" and self._app._driver is not None:
            self._app._driver.write("\x1b[2J")
            self._app.screen.refresh()

    def drawn_by_tmux(self) -> None:
        """tmux redrew the window, with the sixel pictures that it kept."""
        if self._terminal.tmux and self._uploads.painter.name == "sixel":
            self._uploads.send_again()

    def _attached(self, terminal: str) -> None:
        """Another terminal shows this tmux session now."""
        if self._uploads.painter.name != "kitty":
            return
        if draws_placeholders(terminal):
            self._uploads.send_again()
        else:
            self._say("This terminal cannot show the pictures: {leave_hero}, then hero resume.")

    def _lost(self, times: int) -> None:
        """tmux dropped pictures on their way to a terminal."""
        if self._uploads.painter.name != "kitty":
            return
        if times <= LOSSES:
            self._uploads.send_again()
        elif times == LOSSES + 1:
            self._say(
                "The line is too slow for tmux, which drops pictures. {redraw} sends them again."
            )
