"""Settings as frozen dataclasses that check themselves, and as tables of TOML.

A bad value is a HeroError that names the setting, the value and the allowed range; for an unknown
name it suggests the nearest known one. pydantic would do the first, but importing it takes twice as
long as all of this package, in every command.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from hero_engine.core.errors import HeroError, short


def setting(default: Any, sentence: str, **limits: Any) -> Any:
    """A setting: its default, and the sentence that says what it is.

    limits: of a list, `may_be_empty`, `or_one` where a single text stands for a list of one, and
    `least`, the smallest number in it (1 by default).
    """
    return field(default=default, metadata={"sentence": sentence, **limits})


def number(default: float, low: float, high: float, sentence: str, *, above: bool = False) -> Any:
    """A number from `low` to `high`, both included; with `above`, `low` itself is not allowed."""
    limits = {"low": low, "high": high, "above": above}
    return field(default=default, metadata={"sentence": sentence, **limits})


class Checked:
    """A settings dataclass that checks each field against its type and range when created."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for each in fields(cast(Any, self)):
            _check(
                f"{_section(type(self))}{each.name}",
                getattr(self, each.name),
                hints[each.name],
                each.metadata,
            )


Part = TypeVar("Part", bound=Checked)


def from_table(kind: type[Part], table: Any, name: str) -> Part:
    """A section of settings from its table. HeroError for an unknown name or a bad value."""
    return cast(Part, _value(kind, table, name))


def from_names(kind: type, table: Mapping[str, Any], prefix: str = "") -> Any:
    """Settings from a table of their fields. HeroError for an unknown name or a bad value."""
    hints = get_type_hints(kind)
    unknown = sorted(table.keys() - hints.keys())
    if unknown:
        name = prefix + unknown[0]
        instead = known_instead(name, (prefix + each for each in hints))
        raise HeroError(f"unknown setting {short(name)}; {instead}")
    lists = {each.name for each in fields(cast(Any, kind)) if each.metadata.get("or_one")}
    return kind(
        **{
            name: _listed(value) if name in lists else _value(hints[name], value, name)
            for name, value in table.items()
        }
    )


def _listed(value: Any) -> Any:
    """A list of texts, of which a person may write a single one; "" is none."""
    return tuple(filter(None, (value,))) if isinstance(value, str) else _value(tuple, value, "")


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables by full names: {"ddpo": {"microbatch": 4}} as {"ddpo.microbatch": 4}."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inside = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{name}.") if inside else {prefix + name: value}
    return found


def merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A table of settings with some replaced; tables inside it are merged too."""
    merged = dict(table)
    for name, value in changes.items():
        old = merged.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def known_instead(name: str, known: Iterable[str]) -> str:
    """For the message about an unknown name: the nearest known name, or all of them."""
    names = sorted(known)
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"known are: {', '.join(names)}"


def nearest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known name that was probably meant, if one is at least this similar (0 to 1)."""
    return next(iter(get_close_matches(name, list(known), 1, least)), None)


def _value(hint: Any, value: Any, name: str) -> Any:
    """A TOML value as its field has it: tables are sections, arrays tuples, 5 is also 5.0."""
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise HeroError(f"setting {name!r} must be a table, not {short(value)}")
        return from_names(cast(type, hint), value, f"{name}.")
    if isinstance(value, list):
        return tuple(value)
    return float(value) if hint is float and type(value) is int else value


def _section(kind: type) -> str:
    """ "self_training." for SelfTrainingSettings, nothing for Settings."""
    words = re.findall("[A-Z][a-z0-9]*", kind.__name__.removesuffix("Settings"))
    name = "_".join(words).lower()
    return f"{name}." if name else ""


def _check(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            _refuse(name, value, "one of " + ", ".join(get_args(hint)))
    elif get_origin(hint) is tuple:
        if value != () or not limits.get("may_be_empty"):
            _check_tuple(name, value, get_args(hint), limits.get("least", 1))
    elif hint in (int, float):
        _check_number(name, value, hint, limits)
    elif not isinstance(value, hint):
        _refuse(name, value, {str: "text", bool: "true or false"}.get(hint, hint.__name__))


def _check_tuple(name: str, value: Any, of: tuple[Any, ...], least: int) -> None:
    wanted: tuple[Any, ...] = (str,) if of[0] is str else (int, float) if of[0] is float else (int,)
    right_size = isinstance(value, tuple) and value and (of[-1] is ... or len(value) == len(of))
    if not right_size or not all(isinstance(v, wanted) and not isinstance(v, bool) for v in value):
        _refuse(name, value, "a list of " + ("strings" if of[0] is str else "numbers"))
    if of[0] is float and not all(0 <= v <= 1 for v in value):
        _refuse(name, value, "numbers from 0 to 1")
    if of[0] is int and min(value) < least:
        _refuse(name, value, f"numbers of at least {least}")


def _check_number(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    kinds = (int,) if hint is int else (int, float)
    low, high, above = limits["low"], limits["high"], limits["above"]
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (above and value == low):
        whole = "a whole number" if hint is int else "a number"
        _refuse(name, value, f"{whole} {'above' if above else 'from'} {low} to {high}")


def _refuse(name: str, value: Any, allowed: str) -> None:
    raise HeroError(f"setting {name} is {short(value)}; allowed is {allowed}")
