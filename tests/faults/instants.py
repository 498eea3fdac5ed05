"""The instants at which a process changes the disk, in order; an act can run at any of them.

Just before every file is opened for writing, flushed, renamed or removed, every folder made, and
every SQL statement, and whenever the engine asks whether it should stop. Between two instants the
disk does not change, so a process that dies at each of them once has died everywhere.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

Act = Callable[[str], None]


def die(_: str) -> None:
    """End the process at once, as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


class Instants:
    """Counts the instants in a folder; `act(name)` happens at the `nth`, and at all that follow.

    Once watching, a process watches until its end: use it in a child.
    """

    def __init__(self, folder: Path, nth: int | None = None, act: Act = die) -> None:
        self.names: list[str] = []
        self._folder, self._nth, self._act = str(folder), nth, act
        self._files: dict[int, str] = {}

    def watch(self) -> None:
        """Begin."""
        sys.addaudithook(self._audit)
        fsync, connect = os.fsync, sqlite3.connect

        def flush(descriptor: int) -> None:
            self.at("flush")
            fsync(descriptor)

        def listened(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(lambda text: self.at(f"sql {text.split()[0]}"))
            return connection

        os.fsync, sqlite3.connect = flush, listened

    def at(self, name: str) -> None:
        """An instant."""
        self.names.append(name)
        if self._nth is not None and len(self.names) >= self._nth:
            self._act(name)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and self._folder in str(arguments[0]):
            self.at(event)
        elif event == "open" and self._folder in str(arguments[0]) and arguments[2] & WRITES:
            self.at("open")
