"""A pseudo-terminal that answers as kitty or xterm does, over a link of limited speed.

It draws nothing. It records the bytes written to it and their arrival times.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

CELL = 8, 16
ANSWERS = {
    "kitty": {
        b"\x1b_Gi=31": b"\x1b_Gi=31;OK\x1b\\",
        b"\x1b[>q": b"\x1bP>|kitty(0.41.1)\x1b\\",
        b"\x1b[16t": b"\x1b[6;16;8t",
        b"\x1b[c": b"\x1b[?62;c",
        b"\x1b[?2026$p": b"\x1b[?2026;2$y",
    },
    "sixel": {
        b"\x1b[>q": b"\x1bP>|XTerm(390)\x1b\\",
        b"\x1b[16t": b"\x1b[6;16;8t",
        b"\x1b[c": b"\x1b[?64;1;2;4;6;22c",
        b"\x1b[?2026$p": b"\x1b[?2026;0$y",
    },
}
QUESTION = re.compile(rb"\x1b_Gi=31|\x1b\[>q|\x1b\[16t|\x1b\[c|\x1b\[\?2026\$p")
LONGEST_QUESTION = 9
PICTURE = re.compile(rb"\x1b_Ga=T|\x1bP[\d;]*q")
"""How a picture begins, in either protocol."""

PACKET = 512
"""Bytes that arrive together."""


class PtyTerminal:
    """A pty with a process on it.

    kind: "kitty" or "sixel". rate: bytes per second of the link; None: no delay. The link buffers
    everything the process writes, as ssh does.
    """

    def __init__(
        self, kind: str, columns: int = 150, rows: int = 48, *, rate: float | None = None
    ) -> None:
        self.heard = bytearray()
        self._answers, self._rate = ANSWERS[kind], rate
        self._link: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        self._ends: list[int] = []
        self._times: list[float] = []
        self._asked_to = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._master, self._slave = pty.openpty()
        size = struct.pack("HHHH", rows, columns, columns * CELL[0], rows * CELL[1])
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a command with this terminal as its own."""
        self._process = subprocess.Popen(
            command,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=dict(environment),
            start_new_session=True,
        )

    def type(self, keys: str) -> int:
        """Press keys; returns the index in `heard` from which their answer can begin."""
        os.write(self._master, keys.encode())
        return len(self.heard)

    def listen(self, seconds: float) -> bool:
        """Read until bytes arrive, at most `seconds`; False if none did."""
        before, until = len(self.heard), time.monotonic() + seconds
        while len(self.heard) == before and (now := time.monotonic()) < until:
            due = self._link[0][0] if self._link else until
            self._read(max(0.0, min(due, until) - now))
            self._arrive()
        return len(self.heard) > before

    def settle(self, quiet: float = 0.5) -> None:
        """Read until nothing has arrived for `quiet` seconds."""
        while self.listen(quiet):
            continue

    def answer(self, pattern: bytes, since: int, seconds: float = 10.0) -> float | None:
        """Arrival time (time.monotonic) of the first match of `pattern` from `since` on.

        None if there is no match within `seconds`.
        """
        wanted, until = re.compile(pattern), time.monotonic() + seconds
        while (found := wanted.search(self.heard, since)) is None:
            if time.monotonic() > until or self.ended():
                return None
            self.listen(0.05)
        return self._times[bisect_left(self._ends, found.start() + 1)]

    def pictures(self, since: int = 0) -> int:
        """Number of pictures that began from `since` on."""
        return len(PICTURE.findall(self.heard, since))

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process is not None and self._process.poll() is not None

    def close(self) -> None:
        """End the process and close the pty."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._process.kill()
            self._process.wait()
        os.close(self._master)
        os.close(self._slave)

    def _read(self, seconds: float) -> None:
        if not select.select([self._master], [], [], seconds)[0]:
            return
        data, now = os.read(self._master, 65536), time.monotonic()
        for at in range(0, len(data), PACKET):
            packet = data[at : at + PACKET]
            took = len(packet) / self._rate if self._rate else 0.0
            self._free_at = max(self._free_at, now) + took
            self._link.append((self._free_at, packet))

    def _arrive(self) -> None:
        while self._link and self._link[0][0] <= time.monotonic():
            at, packet = self._link.popleft()
            self.heard += packet
            self._ends.append(len(self.heard))
            self._times.append(at)
        for question in QUESTION.finditer(self.heard, self._asked_to):
            os.write(self._master, self._answers.get(question.group(), b""))
            self._asked_to = question.end()
        self._asked_to = max(self._asked_to, len(self.heard) - LONGEST_QUESTION)
