"""The kinds of model that `hero` can train: one file each, found by being here.

Importing them imports no torch, so that a family's settings are known at once.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from hero_engine.models.families.family import Family

__all__ = ["Family", "families", "family_of"]


@cache
def families() -> tuple[Family, ...]:
    """One of each, in the order of their file names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [import_module(f"{__name__}.{name}") for name in names]
    kinds = [each for module in modules for each in vars(module).values() if _is_family(each)]
    return tuple(kind() for kind in dict.fromkeys(kinds))


def family_of(pipeline_class: str) -> Family | None:
    """The family that knows this class of diffusers' pipelines."""
    return next((each for each in families() if pipeline_class == each.pipeline), None)


def _is_family(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Family) and "pipeline" in vars(value)
