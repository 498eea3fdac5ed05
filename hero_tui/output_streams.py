"""Data goes to stdout, messages to stderr; the reader of either may have gone."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import TextIOWrapper
from typing import Any

from hero_engine.core.sanitize import sanitized_lines

ASCII = {"“": '"', "”": '"', "’": "'", "–": "-", "×": "x", "±": "+-"}
"""Replacements for characters that the locale lacks."""


def talk(text: str) -> None:
    """One line on stderr."""
    with suppress(OSError):
        line = " ".join(sanitized_lines(text).split())
        print(f"hero: {line}", file=sys.stderr, flush=True)


def talk_page(text: str) -> None:
    """Several lines on stderr."""
    with suppress(OSError):
        print(sanitized_lines(text), file=sys.stderr, flush=True)


@cache
def talk_once(text: str) -> None:
    """The same, but a text that was printed before is not printed again."""
    talk(text)


class NobodyReads(Exception):  # noqa: N818 - not an error: `hero status | head -1` is fine
    """Stdout's reader has gone. Not a BrokenPipeError, which click turns into exit code 1."""


def data(text: str) -> None:
    """Print text on stdout. NobodyReads if its reader has gone."""
    try:
        print(text, flush=True)
    except BrokenPipeError as error:
        raise NobodyReads from error


def say(text: str) -> None:
    """Text for a person, on stdout."""
    data(sanitized_lines(text))


def data_json(value: Any) -> None:
    """JSON on stdout."""
    import json  # most commands print none

    data(json.dumps(value, indent=1))


def forget_stdout() -> None:
    """Point stdout at /dev/null, so that the interpreter's last flush does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def any_encoding() -> None:
    """Let stdout and stderr print any text: what a locale's encoding lacks becomes ASCII or "?"."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What is printed in place of a character that cannot be encoded."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(
        ASCII.get(each, "?") for each in error.object[error.start : error.end]
    ), error.end


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that takes (done, total); no bar if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)
