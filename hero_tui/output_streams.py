"""Data goes to stdout, talk to stderr; either may have nobody at its other end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from hero_engine.core.sanitize import harmless_lines


def talk(text: str) -> None:
    """One line on stderr."""
    with suppress(OSError):
        line = " ".join(harmless_lines(text).split())
        print(f"hero: {line}", file=sys.stderr, flush=True)


@cache
def talk_once(text: str) -> None:
    """The same, but a text that was printed before is not printed again."""
    talk(text)


class NobodyReads(Exception):  # noqa: N818 - no error: `hero status | head -1` is well
    """Stdout's reader has gone. Not a BrokenPipeError, of which click would make exit code 1."""


def data(text: str) -> None:
    """Text on stdout. NobodyReads where its reader has gone."""
    try:
        print(text, flush=True)
    except BrokenPipeError as error:
        raise NobodyReads from error


def say(text: str) -> None:
    """Text for a person, on stdout."""
    data(harmless_lines(text))


def data_json(value: Any) -> None:
    """JSON on stdout."""
    data(json.dumps(value, indent=1))


def forget_stdout() -> None:
    """Nobody reads stdout: let the interpreter's last flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, told (done, total); nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)
