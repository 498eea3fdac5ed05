"""Signals that end the app: it gets two seconds, and the terminal is restored in any case."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hero_engine.core.errors import ExitCode

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GRACE = 2.0
"""Seconds a signalled app has to leave before the process ends."""


def exit_code(number: int) -> ExitCode:
    """Exit code of a run that this signal stopped."""
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.RESUMABLE


@contextmanager
def signals_call(leave: Callable[[int], None], restore: Callable[[], None]) -> Iterator[None]:
    """SIGHUP, SIGTERM, SIGINT and SIGUSR1 call `leave` with their number; two seconds later the
    process ends come what may, after `restore`.

    A Python handler, not one of the event loop: it runs even while the loop waits for a stuck
    terminal.
    """

    def end(number: int) -> None:
        try:
            restore()
        finally:
            os._exit(exit_code(number))

    def handle(number: int, frame: FrameType | None) -> None:
        last = threading.Timer(GRACE, end, (number,))
        last.daemon = True
        last.start()
        leave(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
