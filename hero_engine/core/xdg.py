"""Where hero's files lie on this machine: the folders of the XDG base directory specification."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def config_folder() -> Path:
    """Of a user's own settings: $XDG_CONFIG_HOME/hero, ~/.config/hero."""
    return _xdg("XDG_CONFIG_HOME", "~/.config")


def data_folder() -> Path:
    """Of what hero makes: $XDG_DATA_HOME/hero, ~/.local/share/hero."""
    return _xdg("XDG_DATA_HOME", "~/.local/share")


@contextmanager
def private() -> Iterator[None]:
    """What is made inside is its owner's alone: folders 0700, files 0600."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _xdg(variable: str, otherwise: str) -> Path:
    """The specification wants absolute paths, and others ignored."""
    chosen = os.environ.get(variable, "")
    base = chosen if Path(chosen).is_absolute() else otherwise
    return Path(base).expanduser() / "hero"
