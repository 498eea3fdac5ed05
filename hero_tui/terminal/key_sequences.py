"""Which complete escape sequences are keys, mouse reports and sizes; and keys by their position.

Textual makes a key of any `CSI number ~` and fails on code points that do not exist, so only
sequences that it understands rightly are let through.
"""

from __future__ import annotations

import re

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._keyboard_protocol import FUNCTIONAL_KEYS

from hero_tui.keyboard.key_names import LAST_LATIN

SGR_MOUSE = re.compile(rb"\x1b\[<\d{1,4};-?\d{1,6};-?\d{1,6}[Mm]")
RESIZE = re.compile(rb"\x1b\[48;\d{1,5}(:\d*)?;\d{1,5}(:\d*)?;\d{1,6}(:\d*)?;\d{1,6}(:\d*)?t")
MODE_REPORT = re.compile(rb"\x1b\[\?(2026|2048);\d\$y")
"""Answers about synchronized output and in-band resizes, which Textual asked for."""

FUNCTIONAL = re.compile(rb"\x1b\[(\d{0,5});(\d{1,4})([~ABCDEFHPQS])")
MODIFY_OTHER_KEYS = re.compile(rb"\x1b\[27;\d{1,4};(\d{1,7})~")
UNICODE_KEY = re.compile(
    rb"\x1b\[(?P<code>\d{1,7})(?::(?P<shifted>\d{0,7}))?(?::(?P<base>\d{1,7}))?"
    rb"(?:;(?P<modifiers>\d{0,4})(?::\d)?)?(?:;(?P<text>[\d:]*))?u"
)
"""https://sw.kovidgoyal.net/kitty/keyboard-protocol/#an-overview"""

SHIFT, CTRL, CAPS_LOCK = 1, 4, 64
US_SHIFTED = dict(zip("1234567890-=[]\\;',./`", '!@#$%^&*()_+{}|:"<>?~', strict=True))
RUSSIAN, GREEK = "йцукенгшщзфывапролдячсмитьі", "ςερτυθιοπασδφγηξκλζχψωβνμ"
US_LETTERS = dict(zip(RUSSIAN, "qwertyuiopasdfghjklzxcvbnms", strict=True)) | dict(
    zip(GREEK, "wertyuiopasdfghjklzxcvbnm", strict=True)
)
"""The US key in the place of a letter, on the usual keyboards of Cyrillic and Greek scripts."""


def is_sgr_mouse(sequence: bytes) -> bool:
    """Whether this is a report of the mouse by SGR mode (1006), the only one Textual reads."""
    return SGR_MOUSE.fullmatch(sequence) is not None


def is_resize(sequence: bytes) -> bool:
    """Whether this is an in-band report of the window's size (mode 2048)."""
    return RESIZE.fullmatch(sequence) is not None


def is_mode_report(sequence: bytes) -> bool:
    """Whether this answers a question about a mode that Textual asks."""
    return MODE_REPORT.fullmatch(sequence) is not None


def is_key(sequence: bytes) -> bool:
    """Whether Textual makes the right key of this sequence."""
    if sequence.decode("latin-1") in ANSI_SEQUENCES_KEYS:
        return True
    if match := UNICODE_KEY.fullmatch(sequence):
        numbers = (*match.group("code", "shifted", "base"), *(match["text"] or b"").split(b":"))
        return all(_is_character(int(number)) for number in numbers if number)
    if match := MODIFY_OTHER_KEYS.fullmatch(sequence):
        return _is_character(int(match[1]))
    if match := FUNCTIONAL.fullmatch(sequence):
        return f"{(match[1] or b'1').decode()}{match[3].decode()}" in FUNCTIONAL_KEYS
    return False


def _is_character(code: int) -> bool:
    return code <= 0x10FFFF and not 0xD800 <= code < 0xE000


def alt_key(character: str) -> bytes:
    """The sequence of kitty's protocol for this character with Alt."""
    key, modifiers = character.lower(), 4 if character.isupper() else 3
    return b"\x1b[%d;%du" % (ord(key[0]), modifiers)


def typed_in_another_script(sequence: bytes) -> bool | None:
    """Whether this key of kitty's protocol types a letter that is not Latin; None: no letter."""
    match = UNICODE_KEY.fullmatch(sequence)
    letter = "" if match is None else chr(int(match["code"]))
    return ord(letter) > LAST_LATIN if letter.isalpha() else None


def simple_key(sequence: bytes, *, by_position: bool, other_script: bool = False) -> bytes:
    """A key of kitty's protocol without its alternates, which Textual cannot read.

    by_position: a letter that is not Latin becomes the one that a US keyboard has in its place, so
    that Cyrillic and Greek keyboards work, and Caps Lock counts for nothing. other_script: the
    keyboard has other letters, so its punctuation is used by position too: the Greek `;` is on the
    key of Q. With Ctrl, which types nothing, a key is always used so. Other sequences are returned
    as they are.
    """
    match = UNICODE_KEY.fullmatch(sequence)
    if match is None or not (b":" in sequence or match["modifiers"]):
        return sequence
    code, base = int(match["code"]), int(match["base"] or b"0")
    held = max(0, int(match["modifiers"] or b"1") - 1)
    text = match["text"] or b""
    place = _us_key(code, base, held, other_script) if by_position or held & CTRL else None
    if place is not None:
        code = place
        text = str(ord(_typed(place, held))).encode() if text else b""
    elif by_position and held & CAPS_LOCK and text.isdigit():
        text = str(ord(_without_caps_lock(chr(int(text)), held))).encode()
    modifiers = b"%d" % (held + 1) if match["modifiers"] else b""
    rest = b";" + modifiers + (b";" + text if text else b"") if modifiers or text else b""
    return b"\x1b[%d%bu" % (code, rest)


def _us_key(code: int, base: int, held: int, other_script: bool) -> int | None:
    """The US key in the place of this one; None where the key counts as what it types.

    base: the key's position, 0 where the terminal does not say it. Then a shortcut's letter is
    looked up on the usual keyboards.
    """
    if code > LAST_LATIN:
        if 0x20 < base < 0x7F:
            return base
        usual = US_LETTERS.get(chr(code)) if held & CTRL else None
        return ord(usual) if usual else None
    if chr(code).isalpha():
        return None
    if held & CTRL and 0x20 < base < 0x7F and chr(base).isalpha():
        return base
    return (base or code) if other_script and 0x20 < (base or code) < 0x7F else None


def _without_caps_lock(character: str, modifiers: int) -> str:
    """The letter as Shift alone makes it: Caps Lock left on must not make every mark a best."""
    other = character.upper() if modifiers & SHIFT else character.lower()
    return other if len(other) == 1 and character.isalpha() else character


def _typed(base: int, modifiers: int) -> str:
    """What a US keyboard types with this key."""
    character = chr(base)
    if not character.isalpha():
        return US_SHIFTED.get(character, character) if modifiers & SHIFT else character
    return character.upper() if modifiers & SHIFT else character
