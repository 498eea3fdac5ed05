"""Folders of hero's files on this machine, by the XDG base directory specification."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def config_folder() -> Path:
    """Folder of the user's settings: $XDG_CONFIG_HOME/hero, or ~/.config/hero."""
    return _xdg("XDG_CONFIG_HOME", "~/.config")


def data_folder() -> Path:
    """Folder of runs and other data: $XDG_DATA_HOME/hero, or ~/.local/share/hero."""
    return _xdg("XDG_DATA_HOME", "~/.local/share")


@contextmanager
def private() -> Iterator[None]:
    """Files made inside the block belong to their owner alone: folders 0700, files 0600."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _xdg(variable: str, otherwise: str) -> Path:
    """The variable's folder; the specification says to ignore a relative path."""
    chosen = os.environ.get(variable, "")
    base = chosen if Path(chosen).is_absolute() else otherwise
    return Path(base).expanduser() / "hero"
