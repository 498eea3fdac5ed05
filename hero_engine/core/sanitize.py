"""Sanitize text for a terminal.

A prompt, a task, a note or a path may come from somebody else. Escape sequences in it could set the
window's title, rewrite the screen or type; direction marks could make it read as another text.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from hero_engine.core.events import Event

CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 and C1, except tab and line feed."""

DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
OTHER = "\u2028\u2029\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
"""Line separators, annotations, surrogates, invisible tags."""

HARMFUL_IN_LINES = f"[{CONTROL}{DIRECTION}{OTHER}]"
HARMFUL = f"[\t\n{CONTROL}{DIRECTION}{OTHER}]"
"""Regular expressions. To Python no such character is printable, so most texts need none."""

AnEvent = TypeVar("AnEvent", bound="Event")


def sanitized(text: str) -> str:
    """One line; each character that would not print as itself becomes "?"."""
    return text if text.isprintable() else re.sub(HARMFUL, "?", text)


def sanitized_lines(text: str) -> str:
    """The same for several lines, and tabs."""
    printable = all(map(str.isprintable, text.split("\n")))
    return text if printable else re.sub(HARMFUL_IN_LINES, "?", text)


def shown(event: AnEvent) -> AnEvent:
    """An event with sanitized texts; paths of images, which are never printed, stay."""
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    texts = {name: sanitized(value) for name, value in values.items() if isinstance(value, str)}
    return cast(AnEvent, replace(cast(Any, event), **texts))
