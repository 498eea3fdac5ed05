"""Names of keys: Textual's own, those a person reads, and those a settings file gives."""

from __future__ import annotations

from textual.keys import Keys, _character_to_key

SIGNS = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "escape": "Esc",
}
LAST_LATIN = 0x24F
"""The end of Unicode's Latin letters. A keyboard with other letters is used by position."""

MODIFIERS = ("ctrl", "shift", "alt")
NAMES = {key.value for key in Keys} | {"space", "minus", "plus"}
"""Keys with a name of their own; what types a character may be given as that character."""

CHARACTERS = {
    _character_to_key(sign): sign for sign in map(chr, range(33, 127)) if not sign.isalnum()
}
"""Textual's names of punctuation, and the sign: {"question_mark": "?"}."""


def key_name(key: str) -> str:
    """A key as Textual names it: "?" becomes "question_mark", "ctrl+k" stays.

    ValueError if no keyboard has it.
    """
    *modifiers, last = [key] if len(key) == 1 else key.strip().lower().split("+")
    known = len(last) == 1 or last in NAMES or last in CHARACTERS
    if not known or any(each not in MODIFIERS for each in modifiers):
        raise ValueError(f"there is no key {key!r}; keys are such as k, ctrl+k, f5, left, space")
    return "+".join([*modifiers, _character_to_key(last) if len(last) == 1 else last])


def readable(key: str) -> str:
    """A key as a person reads it: "ctrl+z" is Ctrl+Z, "left" is ←."""
    *modifiers, last = key.split("+")
    if modifiers and len(last) == 1:
        last = last.upper()
    elif last not in SIGNS and last not in CHARACTERS and len(last) > 1:
        last = last.capitalize()
    return "+".join([*map(str.capitalize, modifiers), SIGNS.get(last, CHARACTERS.get(last, last))])


def short(key: str) -> str:
    """A key for the footer, where room is scarce: ^Z."""
    return readable(key).replace("Ctrl+", "^")
