"""What to say of a key that does nothing: also on a keyboard without Latin letters."""

from __future__ import annotations

from textual.events import Key

from hero_tui.keyboard.key_names import LAST_LATIN, readable
from hero_tui.keyboard.keymap import Keymap

SHORTCUTS = ("ctrl+", "alt+")
NOT_HERE = "does nothing here"


def said_of(key: Key, keys: Keymap, does: str = NOT_HERE, *, at_home: bool = False) -> str:
    """A sentence for this key, such as "й does nothing here: ..."; "" for one that types nothing.

    does: what the key does, as the sentence's verb. at_home: on the home screen, which has no help.
    The keys that are named are function keys, which every keyboard has.
    """
    name = _name(key)
    if not name:
        return ""
    leave = keys.function_key("home_leave" if at_home else "leave_hero")
    if name[-1].isalpha() and ord(name[-1]) > LAST_LATIN:
        return f"{name} {does}: switch the keyboard to Latin letters. {leave} quits."
    help = "" if at_home else f"{keys.function_key('help')} shows the keys, "
    return f"{name} {does}. {help}{leave} quits."


def _name(key: Key) -> str:
    if key.is_printable and key.character:
        return key.character
    shortcut = key.key.startswith(SHORTCUTS) and len(key.key.rpartition("+")[2]) == 1
    return readable(key.key) if shortcut else ""
