"""Setting names of version 0.1.0 that have a new name; the old one is still read.

`NEW_NAMES` and `NEW_VALUES` are the only tables of them. Where a person writes settings (files,
HERO_* variables, --set) the command line prints one line that gives the new name; run.toml of an
existing run and the figures of a study are read silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hero_engine.core.errors import HeroError

NEW_NAMES = {
    "minibatch": "microbatch",
    "ahead": "sample_ahead",
    "same_noise": "fixed_noise_samples",
    "lora.within": "lora.block",
    "noise.best_share": "noise.best_image_ratio",
    "noise.fresh_share": "noise.fresh_ratio",
    "embedding.half_life": "embedding.recency_half_life",
    "unlabelled.rounds": "self_training.rounds",
    "unlabelled.pictures": "self_training.images",
    "ddpo.minibatch": "ddpo.microbatch",
    "ddpo.grow": "ddpo.auto_microbatch",
    "forward.goods": "forward.good_images_per_update",
    "forward.bads": "forward.bad_images_per_update",
    "forward.pull": "forward.kl_weight",
    "forward.reference": "forward.old_policy",
    "forward.steps_by_contrast": "forward.scale_steps_by_variance",
    "forward.unlabelled_as_bad": "forward.assume_unlabelled_bad",
    "d3po.minibatch": "d3po.microbatch",
    "sft.goods": "sft.images_per_update",
    "ui.grace": "ui.undo_seconds",
}
"""Old full name -> new full name."""

NEW_VALUES = {"embedding.kind": {"network": "backbone"}}
"""Full name -> old value -> new value."""


def new_name(name: str) -> str:
    """The present full name of a setting; a name that is not an old one is returned as it is."""
    return NEW_NAMES.get(name, name)


def renamed(table: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Nested settings under their present names, and what was renamed ("a is now b").

    HeroError if the table has both the old and the new name of a setting.
    """
    found, notes = _copied(table), []
    for old, new in NEW_NAMES.items():
        if _has(found, old):
            if _has(found, new):
                raise HeroError(f"{old} is the old name of {new}: remove {old}")
            _put(found, new, _take(found, old))
            notes.append(f"{old} is now {new}")
    for name, values in NEW_VALUES.items():
        if _has(found, name) and str(value := _get(found, name)) in values:
            _put(found, name, values[value])
            notes.append(f"{name} = {value!r} is now {values[value]!r}")
    return found, tuple(notes)


def with_new_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under their present names."""
    return renamed(table)[0]


def flat_with_new_names(names: Mapping[str, Any]) -> dict[str, Any]:
    """The same for settings by full names, {"unlabelled.rounds": 3}."""
    found = {new_name(name): value for name, value in names.items()}
    for name, values in NEW_VALUES.items():
        if name in found:
            found[name] = values.get(str(found[name]), found[name])
    return found


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose tables can be changed."""
    return {
        name: _copied(value) if isinstance(value, Mapping) else value
        for name, value in table.items()
    }


def _has(table: dict[str, Any], name: str) -> bool:
    section, dot, key = name.rpartition(".")
    inner = table.get(section) if dot else table
    return isinstance(inner, dict) and key in inner


def _get(table: dict[str, Any], name: str) -> Any:
    section, _, key = name.rpartition(".")
    return (table[section] if section else table)[key]


def _put(table: dict[str, Any], name: str, value: Any) -> None:
    """Set a value; a section that is not there is made."""
    section, _, key = name.rpartition(".")
    inner = table.setdefault(section, {}) if section else table
    if not isinstance(inner, dict):
        raise HeroError(f"setting {section!r} must be a table, to hold {key}")
    inner[key] = value


def _take(table: dict[str, Any], name: str) -> Any:
    """Remove a value and return it; a section that is then empty goes too."""
    section, _, key = name.rpartition(".")
    value = (table[section] if section else table).pop(key)
    if section and not table[section]:
        del table[section]
    return value
