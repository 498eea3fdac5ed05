"""Reads the lines that events write, strictly."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from hero_engine.core.events import Event, JsonEvent

EVENTS: tuple[type[JsonEvent], ...] = get_args(Event)


def from_json(line: str) -> Event:
    """The event that `to_json` wrote. ValueError for any other line."""
    values: Any = json.loads(line)
    if not isinstance(values, Mapping):
        raise ValueError("an event is a JSON object")
    kind = next((each for each in EVENTS if each.event == values.get("event")), None)
    if kind is None:
        raise ValueError(f"unknown event {values.get('event')!r}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "event"}
    try:
        return kind(**fields)  # type: ignore[return-value]
    except TypeError as error:
        raise ValueError(f"not the fields of {kind.event!r}: {error}") from error
