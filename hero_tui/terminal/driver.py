"""The app's hold on the terminal.

Private descriptors, a log for everything else, signals, a clean end.
"""

from __future__ import annotations

import atexit
import os
import re
import select
import signal
import sys
import termios
import threading
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tty import LFLAG
from types import FrameType
from typing import Any

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from hero_engine.core.errors import ExitCode

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GRACE = 2.0
"""Seconds a signalled app has to leave before it is left."""

DRAWN = b"\x1b[?2026;"
"""How the answer to `ask_drawn` begins, also from a terminal that does not know the mode."""

LATE_REPLIES = re.compile(rb"\x1b_G[^\x1b]*\x1b\\|\x1bP[^\x1b]*\x1b\\")


class Tty:
    """Our own descriptors of the terminal, so that 1 and 2 can point at the log.

    A terminal that is gone swallows what is written, instead of raising in Textual's writer thread.
    """

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self.input = os.dup(stdin)
        self.output = os.dup(stdout)
        self.gone = False

    def write(self, text: str) -> int:
        """Write all of the text, unless the terminal is gone."""
        data = text.encode("utf-8", "replace")
        try:
            while data and not self.gone:
                data = data[os.write(self.output, data) :]
        except OSError:
            self.gone = True
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """The descriptor written to."""
        return self.output

    def isatty(self) -> bool:
        """Always: it was checked before the app started."""
        return True

    def leave(self) -> None:
        """The terminal was closed: write to nowhere, read nothing, wake nobody."""
        self.gone = True
        nowhere = os.open(os.devnull, os.O_RDWR)
        silent, self._keep_open = os.pipe()
        os.dup2(nowhere, self.output)
        os.dup2(silent, self.input)
        os.close(nowhere)
        os.close(silent)


@contextmanager
def quiet(log: Path, tty: Tty) -> Iterator[None]:
    """Descriptors 1 and 2 go to the log while the app is up: no library prints on the screen.

    When the terminal is gone they stay there, since writing to it would be an error.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            if not tty.gone:
                os.dup2(descriptor, number)
            os.close(descriptor)


def code_of(number: int) -> ExitCode:
    """What a run ends with that this signal stopped."""
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.RESUMABLE


@contextmanager
def signals_call(leave: Callable[[int], None]) -> Iterator[None]:
    """SIGHUP, SIGTERM, SIGINT and SIGUSR1 call `leave` with their number; two seconds later the
    process ends come what may.

    A Python handler, not one of the event loop: it runs even while the loop waits for a stuck
    terminal.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        last = threading.Timer(GRACE, os._exit, (code_of(number),))
        last.daemon = True
        last.start()
        leave(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class HeroDriver(LinuxDriver):
    """Textual's driver on our own descriptors.

    It hands on keys typed before the app was up, drops late answers to `graphics.detect`, rests
    when the terminal is gone, and tells when the terminal has drawn what was sent.
    """

    tty: Tty
    typed: bytes = b""
    farewell: Callable[[], str] = staticmethod(lambda: "")
    drawn: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._file: Any = self.tty
        self.fileno = self.tty.input
        self.input_tty = True

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.tty.output)
        except OSError:
            return 80, 24
        return (size.columns or 80), (size.lines or 24)

    def ask_drawn(self) -> None:
        """Ask what is answered only after everything written so far was taken in."""
        self.write("\x1b[?2026$p")

    def stop_application_mode(self) -> None:
        """Free the terminal's pictures, then leave as Textual does."""
        self.write(self.farewell())
        super().stop_application_mode()

    def run_input_thread(self) -> None:
        """Read keys until the app ends; the end of input is waited out, not spun on."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        data = self.typed
        while not self.exit_event.is_set():
            if DRAWN in data:
                self._loop.call_soon_threadsafe(self.drawn)
            text = decode(LATE_REPLIES.sub(b"", data))
            for message in parser.feed(text) if text else ():
                self.process_message(message)
            for message in parser.tick():
                self.process_message(message)
            data = self._read()

    def _read(self) -> bytes:
        if not select.select([self.fileno], [], [], 0.1)[0]:
            return b""
        try:
            data = os.read(self.fileno, 4096)
        except OSError:
            data = b""
        if not data and not self.tty.gone:
            os.kill(os.getpid(), signal.SIGHUP)
            self.exit_event.wait()
        return data


def driver_for(
    tty: Tty, typed: bytes, farewell: Callable[[], str], drawn: Callable[[], None]
) -> type[HeroDriver]:
    """A driver class for this terminal.

    Textual makes its driver from a class, without arguments.
    """

    class BoundDriver(HeroDriver):
        pass

    BoundDriver.tty = tty
    BoundDriver.typed = typed
    BoundDriver.farewell = staticmethod(farewell)
    BoundDriver.drawn = staticmethod(drawn)
    return BoundDriver


@contextmanager
def held(tty: Tty) -> Iterator[None]:
    """Keys typed inside are neither shown nor lost; afterwards the terminal's modes are back.

    Textual sets modes of its own later: this holds from the first question to its start.
    """
    before = termios.tcgetattr(tty.input)
    unechoed = termios.tcgetattr(tty.input)
    unechoed[LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    termios.tcsetattr(tty.input, termios.TCSANOW, unechoed)

    def restore() -> None:
        if not tty.gone:
            termios.tcsetattr(tty.input, termios.TCSANOW, before)

    atexit.register(restore)
    try:
        yield
    finally:
        restore()
        atexit.unregister(restore)
