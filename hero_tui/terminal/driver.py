"""Textual's driver on our own descriptors: what it reads, and how it leaves the terminal."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from types import FrameType
from typing import Any

from textual._xterm_parser import XTermParser
from textual.app import ScreenStackError
from textual.drivers.linux_driver import LinuxDriver

from hero_tui.graphics.detect_terminal import (
    ASK_CELL,
    ASK_KEYS,
    ASK_SIXEL_LIMIT,
    Terminal,
    questions,
    window_cell,
)
from hero_tui.terminal.ask_terminal import Asked
from hero_tui.terminal.input_filter import InputFilter
from hero_tui.terminal.tty import Modes, Tty

ASK_DRAWN = "\x1b[?2026$p"
"""The state of a mode. A terminal answers after it took in everything written before, also one that
does not know the mode."""

ANSWERS = {
    ASK_DRAWN: re.compile(rb"\x1b\[\?2026;\d\$y"),
    ASK_CELL: re.compile(rb"\x1b\[6;\d+;\d+t"),
    ASK_SIXEL_LIMIT: re.compile(rb"\x1b\[\?2;\d[;\d]*S"),
    ASK_KEYS: re.compile(rb"\x1b\[\?\d+u"),
}
"""What answers each question."""

OVERDUE = 2.0
"""Seconds after which an answer is not waited for before the same is asked again."""

REPORT_POSITIONS = "\x1b[=4;2u"
"""Adds to the flags of kitty's keyboard protocol: tell a key's position on a US keyboard."""

MODES_OFF = (
    "\x1b[?2026l\x1b[m\x1b[?2004l\x1b[?7h\x1b[?2048l"
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?1004l"
    "\x1b[<u\x1b[2J\x1b[H\x1b[?1049l\x1b[?25h"
)
"""Everything that was turned on is off. Kitty's keys belong to the alternate screen, and so does
the page: a terminal without that screen, such as mosh, would keep it."""

LAST_PATIENCE = 0.5
"""Seconds that a leaving app waits for the terminal to read what is still to be written, and again
for it to read `MODES_OFF`."""

READ_WAIT, ESCAPE_WAIT = 0.1, 0.02
"""Seconds to wait for input: usually, and while a sequence is incomplete."""


class HeroDriver(LinuxDriver):
    """Hands on keys and nothing else, and asks the terminal for what pictures need.

    Bound by `driver_for`: `farewell` gives what frees the terminal's pictures, `drawn` is called
    when the terminal has drawn what was sent, `answered` when it said something new about itself.
    """

    tty: Tty
    modes: Modes
    asked: Asked
    farewell: Callable[[], str] = staticmethod(lambda: "")
    drawn: Callable[[], None] = staticmethod(lambda: None)
    answered: Callable[[Terminal], None] = staticmethod(lambda terminal: None)
    current: HeroDriver | None = None

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._file: Any = self.tty
        self.fileno = self.tty.input
        self.input_tty = True
        self._terminal = self.asked.answers.terminal
        self._filter: InputFilter = self.asked.filter
        self._filter.replied = self._take_reply
        self._filter.by_position = lambda: not self._types_text()
        self._started = False
        self._left = False
        self._asked: dict[str, float] = {}
        self._ever_answered: set[str] = set()
        self._cell_due = False
        type(self).current = self

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.tty.output)
        except OSError:
            return 80, 24
        return (size.columns or 80), (size.lines or 24)

    # -- what others ask --

    def ask_drawn(self) -> None:
        """Ask what is answered only after everything written so far was taken in."""
        if os.environ.get("TERM_PROGRAM") != "Apple_Terminal":  # it would print the p
            self._ask(ASK_DRAWN)

    def ask_cell(self) -> None:
        """Ask for the size of a cell again: the font may have changed."""
        self.asked.answers.window_cell = window_cell(self.tty.output)
        self._cell_due = time.monotonic() - self._asked.get(ASK_CELL, -OVERDUE) < OVERDUE
        if ASK_CELL in questions(os.environ) and not self._cell_due:
            self._ask(ASK_CELL)
            if self._terminal.sixel and not self._terminal.tmux:
                self._ask(ASK_SIXEL_LIMIT)
        self._tell()

    def _ask(self, question: str) -> None:
        self._asked[question] = time.monotonic()
        self.write(question)

    # -- start and end --

    def start_application_mode(self) -> None:
        """Start as Textual does; ask for positions of keys, and for the cell at every resize."""
        self.tty.resume()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._started = True
        self.write(REPORT_POSITIONS)
        if ASK_CELL in questions(os.environ):
            self._ask(ASK_KEYS)
        self._loop.call_soon_threadsafe(self.ask_cell)
        textuals: Any = signal.getsignal(signal.SIGWINCH)

        def resized(number: int, frame: FrameType | None) -> None:
            textuals(number, frame)
            self._loop.call_soon_threadsafe(self.ask_cell)

        signal.signal(signal.SIGWINCH, resized)

    def stop_application_mode(self) -> None:
        """Free the terminal's pictures and turn every mode off, even if it does not read."""
        if self._started:
            self._wait(self._all_written, LAST_PATIENCE)
            self._wait(self._all_answered, LAST_PATIENCE)
            self.tty.cut()
            self.disable_input()
            self.give_back()

    def give_back(self) -> None:
        """Restore the terminal, once and without waiting for anything else of the app."""
        if not self._started:
            return
        self._started = False
        self.tty.cut()
        self.modes.restore()
        self.tty.write_last(self.farewell() + MODES_OFF, LAST_PATIENCE)

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.tty.gone and not done():
            time.sleep(0.005)

    def _all_written(self) -> bool:
        writer = self._writer_thread
        return writer is None or (writer._queue.empty() and not self.tty.writing)

    def _all_answered(self) -> bool:
        """Whether no answer is on its way, which would be typed into the shell."""
        return self.tty.is_cut or not self._asked.keys() & self._ever_answered

    def _sigcont_application(self, *_: Any) -> None:
        """Go on after a stop; one that came without warning (SIGSTOP) left all modes on."""
        if self._started:
            self.suspend_application_mode()
            self._must_signal_resume = True
        super()._sigcont_application()

    # -- input --

    def run_input_thread(self) -> None:
        """Read keys until the app ends; the end of input is waited out, not spun on."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        data, self.asked.typed = self.asked.typed, b""
        while not self.exit_event.is_set():
            text = decode(data)
            for message in (*(parser.feed(text) if text else ()), *parser.tick()):
                self.process_message(message)
            data = self._filtered()

    def _filtered(self) -> bytes:
        """What a person typed since the last time."""
        wait = ESCAPE_WAIT if self._filter.waiting else READ_WAIT
        if not select.select([self.fileno], [], [], wait)[0]:
            return self._filter.tick(time.monotonic())
        return self._filter.feed(self._read(), time.monotonic())

    def _read(self) -> bytes:
        try:
            data = os.read(self.fileno, 4096)
        except OSError:
            data = b""
        if not data and not self._left:
            self._left = True
            os.kill(os.getpid(), signal.SIGHUP)
            self.exit_event.wait()
        return data

    def _types_text(self) -> bool:
        """Whether the widget that has the focus takes letters as text."""
        try:
            focused = self._app.focused
        except ScreenStackError:
            return False
        return focused is not None and focused.check_consume_key("q", "q")

    def _take_reply(self, reply: bytes) -> None:
        """In the input thread: a complete reply of the terminal."""
        question = next((each for each, form in ANSWERS.items() if form.fullmatch(reply)), "")
        self._asked.pop(question, None)
        self._ever_answered.add(question)
        if question == ASK_DRAWN:
            self._loop.call_soon_threadsafe(self.drawn)
        elif question == ASK_KEYS:
            self._filter.kitty_keys = reply != b"\x1b[?0u"
        elif self.asked.answers.take(reply):
            again = question == ASK_CELL and self._cell_due
            self._loop.call_soon_threadsafe(self.ask_cell if again else self._tell)

    def _tell(self) -> None:
        terminal = self.asked.answers.terminal
        if terminal != self._terminal:
            self._terminal = terminal
            self.answered(terminal)


def driver_for(
    tty: Tty,
    modes: Modes,
    asked: Asked,
    *,
    farewell: Callable[[], str],
    drawn: Callable[[], None],
    answered: Callable[[Terminal], None],
) -> type[HeroDriver]:
    """A driver class for this terminal, since Textual makes its driver without arguments."""

    class BoundDriver(HeroDriver):
        pass

    BoundDriver.tty, BoundDriver.modes, BoundDriver.asked = tty, modes, asked
    BoundDriver.farewell = staticmethod(farewell)
    BoundDriver.drawn = staticmethod(drawn)
    BoundDriver.answered = staticmethod(answered)
    return BoundDriver
