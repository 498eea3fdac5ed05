"""Precedence of settings: layers, the strongest last, merged once.

A run's settings are, from the weakest: defaults, preset, kind of model, task, the user's file, the
project's file, HERO_* variables, the command line. Each is a `Layer` of nested tables; nothing is
changed or taken out on the way, so where a value comes from is the last layer that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from hero_engine.config.validation import flat, merge


@dataclass(frozen=True)
class Layer:
    """Settings from one place; `name` is the place, for messages."""

    name: str
    values: Mapping[str, Any]


def merged(layers: Iterable[Layer]) -> dict[str, Any]:
    """The nested tables of all layers in one; the last layer is the strongest."""
    return reduce(merge, (layer.values for layer in layers), {})


def sources(layers: Iterable[Layer]) -> dict[str, str]:
    """Full name of a setting -> name of the strongest layer that has it."""
    return {name: layer.name for layer in layers for name in flat(layer.values)}


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The table without some of its names."""
    return {name: value for name, value in values.items() if name not in names}
