"""The terminal's descriptors: writes have a time limit, and modes are restored."""

from __future__ import annotations

import atexit
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tty import LFLAG

PIECE = 4096
"""Bytes written at a time."""

LOOK = 0.05
"""Seconds between two checks for a cut, while the terminal does not read."""

ABORT = "\x18\x1b\\"
"""Ends a sequence that was cut short: CAN, and the end of a string."""


class Tty:
    """Our own descriptors of the terminal, so that 1 and 2 can point at the log.

    A terminal that is gone swallows what is written, instead of raising in Textual's writer thread.
    Output is opened anew where it can be: then a terminal that stopped reading holds nobody up, and
    the shell's own descriptor stays in blocking mode.
    """

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self.input = os.dup(stdin)
        self.output = _open_again(stdout)
        self.gone = False
        self.writing = False
        self.is_cut = False
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Write all of the text, unless the terminal is gone or output was cut."""
        with self._lock:
            self.writing = True
            self._send(text, lambda: not self.is_cut)
            self.writing = False
        return len(text)

    def cut(self) -> None:
        """From now on drop what is written, also what waits for the terminal to read it."""
        self.is_cut = True

    def resume(self) -> None:
        """Write again, after `cut`."""
        self.is_cut = False

    def write_last(self, text: str, seconds: float) -> None:
        """Write this ahead of whatever the terminal has not read yet, for at most `seconds`.

        After `cut` only. What the kernel still holds is thrown away.
        """
        until = time.monotonic() + seconds
        with suppress(termios.error):
            termios.tcflush(self.output, termios.TCOFLUSH)
        if self._lock.acquire(timeout=seconds):
            self._send(ABORT + text, lambda: time.monotonic() < until)
            self._lock.release()

    def _send(self, text: str, wanted: Callable[[], bool]) -> None:
        data = memoryview(text.encode("utf-8", "replace"))
        while data and not self.gone and wanted():
            try:
                if select.select([], [self.output], [], LOOK)[1]:
                    data = data[os.write(self.output, data[:PIECE]) :]
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                self.gone = True

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


def _open_again(descriptor: int) -> int:
    """The same terminal, opened without blocking; a duplicate where it cannot be opened."""
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        opened = os.open(os.ttyname(descriptor), flags)
    except OSError:
        return os.dup(descriptor)
    if os.fstat(opened).st_rdev == os.fstat(descriptor).st_rdev:
        return opened
    os.close(opened)
    return os.dup(descriptor)


@contextmanager
def output_to_log(log: Path, tty: Tty) -> Iterator[None]:
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


class Modes:
    """The modes that the terminal had before the app, to be given back."""

    def __init__(self, tty: Tty) -> None:
        self._tty = tty
        self._before = termios.tcgetattr(tty.input)

    def restore(self) -> None:
        """Echo, lines and signals as they were."""
        if not self._tty.gone:
            with suppress(termios.error):
                termios.tcsetattr(self._tty.input, termios.TCSANOW, self._before)


@contextmanager
def keys_held(tty: Tty) -> Iterator[Modes]:
    """Keys typed inside are neither shown nor lost; afterwards the terminal's modes are back.

    Textual sets modes of its own later: this holds from the first question to its start.
    """
    modes = Modes(tty)
    unechoed = termios.tcgetattr(tty.input)
    unechoed[LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    termios.tcsetattr(tty.input, termios.TCSANOW, unechoed)
    atexit.register(modes.restore)
    try:
        yield modes
    finally:
        modes.restore()
        atexit.unregister(modes.restore)
