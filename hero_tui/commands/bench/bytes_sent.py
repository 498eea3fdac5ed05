"""Bytes the app sends for a first paint, a mark and a replaced picture; keys on a slow link."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from hero_engine.core.errors import ExitCode, HeroError
from hero_tui.commands.bench.fake_engine_app import PICTURES, prepare
from hero_tui.commands.bench.pty_terminal import PtyTerminal

START = 60.0
"""Time limit in seconds for the first page."""

SLOW_LINK = 300_000.0
"""Bytes per second."""

TOUCHED = rb" w  "
"""Matches a repainted caption of tile w, and nothing else."""


@dataclass(frozen=True)
class Sent:
    """Bytes and pictures sent to a kind of terminal: 32 pictures of 128 pixels at 150x48 cells."""

    first_paint: int
    pictures: int
    mark: int
    mark_pictures: int
    replace: int
    replace_pictures: int


def environment(**more: str) -> dict[str, str]:
    """Environment of a process on a measuring terminal: true colour, no other terminal's variables.

    COLUMNS and LINES would have a page painted in their size before it is in the terminal's own.
    """
    others = ("TMUX", "NO_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | more


@contextmanager
def running_app(kind: str, rate: float | None = None) -> Iterator[tuple[PtyTerminal, Path]]:
    """The app on a measuring terminal, and the folder of its pictures."""
    with tempfile.TemporaryDirectory() as folder, PtyTerminal(kind, rate=rate) as terminal:
        prepare(Path(folder))
        command = [sys.executable, "-m", "hero_tui.commands.bench.fake_engine_app", folder]
        terminal.start(command, environment())
        yield terminal, Path(folder)


def sent(kind: str) -> Sent:
    """Measure one kind of terminal, "kitty" or "sixel"."""
    with running_app(kind) as (terminal, folder):
        await_pictures(terminal, PICTURES)
        terminal.settle()
        first = len(terminal.heard), terminal.pictures()
        at = terminal.type("w")
        seen(terminal, TOUCHED, at)
        terminal.settle()
        mark = len(terminal.heard) - at, terminal.pictures(at)
        at = len(terminal.heard)
        (folder / "replace").touch()
        await_pictures(terminal, PICTURES + 1)
        terminal.settle()
        return Sent(*first, *mark, len(terminal.heard) - at, terminal.pictures(at))


def slow_link_keys(kind: str, rate: float = SLOW_LINK) -> tuple[float, float]:
    """Seconds until a key is answered over a slow link: during the first upload, and after it."""
    with running_app(kind, rate) as (terminal, _):
        await_pictures(terminal, 2)
        during = _answered(terminal)
        await_pictures(terminal, PICTURES)
        terminal.settle()
        return during, _answered(terminal)


def _answered(terminal: PtyTerminal) -> float:
    pressed = monotonic()
    return seen(terminal, TOUCHED, terminal.type("w")) - pressed


def await_pictures(terminal: PtyTerminal, count: int) -> None:
    """Read until this many pictures came. HeroError, exit code 1, if they do not."""
    until = monotonic() + START
    while terminal.pictures() < count:
        if terminal.ended() or monotonic() > until:
            raise HeroError(
                f"the app showed {terminal.pictures()} of {count} pictures",
                exit_code=ExitCode.FAILED,
            )
        terminal.listen(0.1)


def seen(terminal: PtyTerminal, pattern: bytes, since: int) -> float:
    """Arrival time of a key's answer. HeroError, exit code 1, if none came."""
    at = terminal.answer(pattern, since)
    if at is None:
        raise HeroError(f"the app did not answer a key with {pattern!r}", exit_code=ExitCode.FAILED)
    return at
