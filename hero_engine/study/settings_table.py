"""The settings of a table of figures: a hash in every row, and the settings of each hash."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import tomli_w

from hero_engine.config.settings import Settings
from hero_engine.storage.atomic_files import write_atomically

COMMON = "common"
"""The table in settings.toml of the values that most runs share."""
NOT_HASHED = frozenset({"seed", "task", "prompt", "labels", "checkpoints", "tracker"})
"""Columns of the table of figures, and settings that change no figure."""
UPDATES: frozenset[str] = frozenset(get_args(get_type_hints(Settings)["update"]))


def used_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the hash covers: those that a run with this update uses.

    settings: names with dots, as `flat` makes them.
    """
    unused = UPDATES - {settings["update"]}
    return {
        name: value
        for name, value in settings.items()
        if name not in NOT_HASHED and name.partition(".")[0] not in unused
    }


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of SHA-256 over the used settings.

    The hash of an old run is over the names its settings had then; settings.toml has today's.
    """
    text = json.dumps(used_settings(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def add_settings(path: Path, runs: Iterable[Mapping[str, Any]]) -> None:
    """Add runs to settings.toml: a table for each hash, with what differs from `COMMON`.

    A new file takes the most frequent values as `COMMON`; a file that exists keeps its own.
    """
    used = {settings_hash(run): used_settings(run) for run in runs}
    known = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    common = known.pop(COMMON, None) or most_frequent(used.values())
    known |= {digest: differing(values, common) for digest, values in used.items()}
    write_atomically(path, tomli_w.dumps({COMMON: common, **dict(sorted(known.items()))}))


def differing(values: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from the common ones."""
    return {k: v for k, v in values.items() if k not in common or common[k] != v}


def most_frequent(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The most frequent value of every setting."""
    counts: dict[str, Counter[str]] = {}
    for run in runs:
        for name, value in run.items():
            counts.setdefault(name, Counter())[json.dumps(value)] += 1
    return {name: json.loads(count.most_common(1)[0][0]) for name, count in counts.items()}
