"""Read TOML files that people wrote."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hero_engine.core.errors import HeroError

LONGEST = 16_384
"""Longest file in bytes: for a key of n parts tomllib takes memory in proportion to n squared."""


def read_toml(path: Path) -> dict[str, Any]:
    """The file's table. HeroError, exit code 2, if it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise HeroError(f"{path} is too long: at most {LONGEST} bytes are read")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise HeroError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise HeroError(f"{path} is not valid TOML: {error}") from error
