"""tmux between the app and the terminal: what it passes on, and which terminals are attached."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

POLL = 1.0
"""Seconds between two checks of the attached terminals: tmux sends no event about them."""

LONGEST_BUSY = 3
"""Checks after which a terminal is taken as it is: another pane may keep tmux writing to it."""

TIMEOUT = 2.0
"""Seconds that tmux has for an answer."""

VERSION = re.compile(r"(\d+)\.(\d+)")
SIXEL_SINCE, SIXEL_UNTIL = (3, 4), (3, 7)
"""Versions that show a page of sixel pictures: from the first to before the second."""


@dataclass(frozen=True)
class Tmux:
    """What tmux says about itself and the terminal around it; `outer` is that terminal's name."""

    passthrough: bool
    outer: str
    version: str = ""

    SIXEL_IMAGES: ClassVar[int] = 20
    """Sixel pictures that tmux keeps, of all panes together. It forgets the oldest, and draws only
    those again that it keeps."""

    @property
    def drops_sixel(self) -> bool:
        """Whether a page of pictures loses some at once; earlier versions lose them only when tmux
        draws the window again."""
        return self._number >= SIXEL_UNTIL

    @property
    def sends_sixel(self) -> bool:
        """Whether this version can show sixel pictures at all."""
        return self._number >= SIXEL_SINCE

    @property
    def _number(self) -> tuple[int, int]:
        match = VERSION.search(self.version)
        return (int(match[1]), int(match[2])) if match else (0, 0)


def ask_tmux(environ: Mapping[str, str]) -> Tmux | None:
    """Whether this is tmux, lets sequences through, and what it runs in."""
    if not environ.get("TMUX"):
        return None
    said = _tmux("display-message", "-p", "#{allow-passthrough}|#{client_termtype}|#{version}")
    if said is None:
        return Tmux(passthrough=False, outer="")
    allowed, outer, version = [*said.strip().split("|"), "", ""][:3]
    return Tmux(passthrough=allowed in {"1", "on", "all"}, outer=outer, version=version)


def through_tmux(command: str) -> str:
    """Wrap an escape sequence so that tmux (allow-passthrough on) hands it to its own terminal."""
    return "\x1bPtmux;" + command.replace("\x1b", "\x1b\x1b") + "\x1b\\"


class Uploads(Protocol):
    """What sends the pictures, as far as `watch_tmux` needs it."""

    @property
    def bytes_sent(self) -> int:
        """Of pictures, so far, by sequences that tmux hands on unseen."""
        ...


async def watch_tmux(
    environ: Mapping[str, str],
    uploads: Uploads,
    attached: Callable[[str], None],
    shown: Callable[[], None],
    lost: Callable[[int], None],
    poll: float = POLL,
) -> None:
    """Until cancelled, tell what needs the pictures again.

    attached: called with the name of every terminal that is attached from now on. A line that
    dropped and `tmux attach` make a new terminal, which has no picture of ours.
    shown: called whenever the pane is visible again after something else was.
    lost: called when a terminal did not get the pictures; with how often in a row that happened.
    tmux drops output to a terminal that reads too slowly, what a pane sends that is not seen, and
    (to 3.3) what arrives for a terminal while it waits to be drawn anew.
    """
    pane = environ.get("TMUX_PANE", "")
    before = await asyncio.to_thread(_pane, pane) or Pane(visible=False, clients={})
    sent_before, unseen = uploads.bytes_sent, False
    deliveries = {name: Delivery(client, sent_before) for name, client in before.clients.items()}
    busy: dict[str, int] = {}
    while True:
        await asyncio.sleep(poll)
        now, sent = await asyncio.to_thread(_pane, pane), uploads.bytes_sent
        if now is None:
            continue
        unseen |= sent != sent_before and not (before.visible and now.visible)
        for name, client in now.clients.items():
            was = before.clients.get(name)
            calm = was is not None and client.is_calm_since(was)
            busy[name] = 0 if calm else busy.get(name, 0) + 1
            if not now.visible or 0 < busy[name] <= LONGEST_BUSY:
                continue
            if name not in deliveries:
                deliveries[name] = Delivery(client, sent)
                attached(client.terminal)
            elif sent == sent_before and deliveries[name].failed(client, sent, unseen):
                unseen = False
                lost(deliveries[name].failures)
        if now.visible and not (before.visible and now.clients.keys() <= before.clients.keys()):
            shown()
        before, sent_before = now, sent


@dataclass(frozen=True)
class Client:
    """A terminal that is attached: its name, and the bytes that tmux wrote to it and dropped."""

    terminal: str
    written: int
    discarded: int

    CALM: ClassVar[int] = 8_000
    """Bytes between two checks that a progress bar makes, and a page drawn anew exceeds."""

    def is_calm_since(self, before: Client) -> bool:
        """Whether it is not being drawn anew, when tmux would drop pictures for it."""
        return self.written - before.written < self.CALM


class Delivery:
    """Whether a terminal was given what was sent, counted since it was last looked at."""

    SHARE = 0.9
    """Of the bytes sent; tmux takes its own wrapping off."""

    def __init__(self, client: Client, sent: int) -> None:
        self._client, self._sent = client, sent
        self.failures = 0

    def failed(self, client: Client, sent: int, unseen: bool = False) -> bool:
        """Look at a terminal to which nothing is on the way; `failures` counts those in a row.

        unseen: some was sent when the pane was not seen.
        """
        owed = (sent - self._sent) * self.SHARE if client.written else 0
        written = client.written - self._client.written
        failed = unseen or client.discarded > self._client.discarded or written < owed
        if failed or owed:
            self.failures = self.failures + 1 if failed else 0
        self._client, self._sent = client, sent
        return failed


@dataclass(frozen=True)
class Pane:
    """The terminals attached to the session of a pane, by tty and time; and whether the
    pane itself is what they see."""

    visible: bool
    clients: Mapping[str, Client]


PANE = "#{window_active}|#{pane_in_mode}|#{window_zoomed_flag}|#{pane_active}"
CLIENT = "#{client_name} #{client_created}|#{client_termtype}|#{client_written}|#{client_discarded}"


def _pane(pane: str) -> Pane | None:
    """What tmux says of the pane now; None if it does not answer."""
    state = ["display-message", "-p", "-t", pane, PANE]
    said = _tmux(*state, ";", "list-clients", "-t", pane, "-F", CLIENT)
    if not said:
        return None
    first, *lines = said.splitlines()
    active, mode, zoomed, chosen = [*first.split("|"), "", "", ""][:4]
    clients = dict(_client(line) for line in lines)
    covered = mode not in ("", "0") or (zoomed == "1" and chosen != "1")
    return Pane(bool(clients) and active == "1" and not covered, clients)


def _client(line: str) -> tuple[str, Client]:
    """One line of `CLIENT`; a number that this tmux does not tell is 0."""
    name, terminal, *numbers = [*line.split("|"), "", "", ""][:4]
    written, discarded = (int(number) if number.isdecimal() else 0 for number in numbers)
    return name, Client(terminal, written, discarded)


def _tmux(*arguments: str) -> str | None:
    """What tmux answers, or None."""
    try:
        result = subprocess.run(
            ["tmux", *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout
