"""tmux between the app and the terminal: what it lets through, and which terminals look on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

POLL = 2.0
"""Seconds between two looks at who is attached. tmux has no way to tell an app of it."""


@dataclass(frozen=True)
class Tmux:
    """What tmux says about the terminal around it; `outer` is that terminal's name."""

    passthrough: bool
    outer: str


def ask_tmux(environ: Mapping[str, str]) -> Tmux | None:
    """Whether this is tmux, lets sequences through, and what it runs in."""
    if not environ.get("TMUX"):
        return None
    said = _tmux("display-message", "-p", "#{allow-passthrough}|#{client_termtype}")
    if said is None:
        return Tmux(passthrough=False, outer="")
    allowed, _, outer = said.strip().partition("|")
    return Tmux(passthrough=allowed in {"1", "on", "all"}, outer=outer)


def through_tmux(command: str) -> str:
    """Wrap an escape sequence so that tmux (allow-passthrough on) hands it to its own terminal."""
    return "\x1bPtmux;" + command.replace("\x1b", "\x1b\x1b") + "\x1b\\"


async def watch_clients(
    environ: Mapping[str, str], came: Callable[[str], None], poll: float = POLL
) -> None:
    """Call `came` with the name of every terminal that is attached from now on, until cancelled.

    A line that dropped and `tmux attach` make a new one, which has no picture of ours.
    """
    pane = environ.get("TMUX_PANE", "")
    before = await asyncio.to_thread(_clients, pane)
    told = set(before)
    while True:
        await asyncio.sleep(poll)
        clients = await asyncio.to_thread(_clients, pane)
        for client, terminal in clients.items():
            named = terminal or client in before  # tmux learns the name a moment later, or never
            if named and client not in told:
                told.add(client)
                came(terminal)
        before = clients


def _clients(pane: str) -> dict[str, str]:
    """The names of the terminals that are attached to the pane's session, by tty and time."""
    fields = "#{client_name} #{client_created}|#{client_termtype}"
    said = _tmux("list-clients", "-t", pane, "-F", fields) or ""
    rows = (line.partition("|") for line in said.splitlines())
    return {client: terminal for client, _, terminal in rows}


def _tmux(*arguments: str) -> str | None:
    """What tmux answers, or None."""
    try:
        result = subprocess.run(
            ["tmux", *arguments], capture_output=True, text=True, timeout=1, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout
