"""run.toml: the task and settings of a run, frozen when it starts.

Its last line is a comment with the SHA-256 of everything above. A setting that is edited later, or
changed by the disk, would turn the run into another one half way.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from hero_engine import __version__
from hero_engine.config.settings import Settings, from_toml, to_toml
from hero_engine.config.tasks import Task
from hero_engine.core.errors import Damaged, HeroError
from hero_engine.storage.atomic_files import sha256

FORMAT = 3
"""Format of a run's folder that this version writes."""
READABLE = (2, FORMAT)
"""Formats it opens: 2 (hero 0.1.0) has the old setting names; 1 had no checksums."""
SEAL = "# Not to be edited: settings are frozen when a run starts. sha256 "


class OtherFormatError(ValueError):
    """A run of another format than this version of hero makes."""


def run_toml(settings: Settings, task: Task, origin: Mapping[str, Any]) -> str:
    """The text of the file. origin: further keys about where the run comes from."""
    created = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    about = {"format": FORMAT, "version": __version__, "created": created, **origin}
    return _sealed({"hero": about, **_tables(settings, task)})


def _tables(settings: Settings, task: Task) -> dict[str, Any]:
    return {
        "task": {name: value for name, value in asdict(task).items() if value is not None},
        "settings": tomllib.loads(to_toml(settings)),
    }


def _sealed(tables: Mapping[str, Any]) -> str:
    text = tomli_w.dumps(tables)
    return f"{text}\n{SEAL}{sha256(text.encode())}\n"


def with_other_settings(text: bytes, settings: Settings, task: Task) -> str:
    """The text of a file with other settings and another task; where the run comes from stays."""
    tables = _unsealed(text)
    return _sealed({**tables, **_tables(settings, task)})


def read_run_toml(path: Path) -> tuple[Settings, Task]:
    """Settings and task of a run.toml. Damaged if it was changed, or has an unknown format."""
    try:
        tables = _unsealed(path.read_bytes())
        task = {**tables["task"]}
        for name in ("transfer_prompts", "prompts", "judged_prompts", "sizes", "image"):
            task[name] = tuple(task.get(name, ()))
        return from_toml(tomli_w.dumps(tables["settings"])), Task(**task)
    except OtherFormatError as error:
        raise Damaged(f"{path.parent} {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, OSError, HeroError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Damaged(f"{path} is damaged: {reason}") from error


def _unsealed(data: bytes) -> dict[str, Any]:
    """The tables of the file. ValueError if they are not as they were written."""
    text, seal, checksum = data.partition(f"\n{SEAL}".encode())
    tables = tomllib.loads(text.decode())
    made_by, found = tables["hero"]["version"], tables["hero"].get("format", 1)
    if found not in READABLE:
        age = "an older" if found < FORMAT else "a newer"
        raise OtherFormatError(
            f"was made by {age} hero ({made_by}, run format {found}); this one opens formats "
            f"{READABLE[0]} to {FORMAT}: continue it with that version"
        )
    if not seal or checksum.decode().strip() != sha256(text):
        raise ValueError("it was changed after the run started")
    return tables
