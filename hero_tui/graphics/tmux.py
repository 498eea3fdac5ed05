"""tmux between the app and the terminal: what it passes on, and which terminals are attached."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

POLL = 1.0
"""Seconds between two checks of the attached terminals: tmux sends no event about them."""


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


async def watch_tmux(
    environ: Mapping[str, str],
    attached: Callable[[str], None],
    shown: Callable[[], None],
    poll: float = POLL,
) -> None:
    """Until cancelled, call `attached` with the name of every terminal that is attached from now
    on, and `shown` whenever the pane is visible again after something else was.

    A line that dropped and `tmux attach` make a new terminal, which has no picture of ours.
    """
    pane = environ.get("TMUX_PANE", "")
    before = await asyncio.to_thread(_pane, pane)
    known = set(before.clients)
    while True:
        await asyncio.sleep(poll)
        now = await asyncio.to_thread(_pane, pane)
        for client, terminal in now.clients.items():
            named = terminal or client in before.clients  # tmux learns the name later, or never
            if named and client not in known:
                known.add(client)
                attached(terminal)
        if now.visible and not (before.visible and now.clients.keys() <= before.clients.keys()):
            shown()
        before = now


@dataclass(frozen=True)
class Pane:
    """The terminals attached to the session of a pane, by tty and time; and whether the
    pane itself is what they see."""

    visible: bool
    clients: Mapping[str, str]


PANE = "#{window_active}|#{pane_in_mode}|#{window_zoomed_flag}|#{pane_active}"
CLIENT = "#{client_name} #{client_created}|#{client_termtype}"


def _pane(pane: str) -> Pane:
    """What tmux says of the pane now."""
    look = [
        "display-message",
        "-p",
        "-t",
        pane,
        PANE,
        ";",
        "list-clients",
        "-t",
        pane,
        "-F",
        CLIENT,
    ]
    said = _tmux(*look) or ""
    first, *lines = said.splitlines() or [""]
    active, mode, zoomed, chosen = [*first.split("|"), "", "", ""][:4]
    rows = (line.partition("|") for line in lines)
    clients = {client: terminal for client, _, terminal in rows}
    covered = mode not in ("", "0") or (zoomed == "1" and chosen != "1")
    return Pane(bool(clients) and active == "1" and not covered, clients)


def _tmux(*arguments: str) -> str | None:
    """What tmux answers, or None."""
    try:
        result = subprocess.run(
            ["tmux", *arguments], capture_output=True, text=True, timeout=1, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout
