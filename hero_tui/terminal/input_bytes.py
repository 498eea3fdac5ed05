"""The bytes that a terminal's input is made of, and the states of reading them."""

from __future__ import annotations

import re
from enum import Enum, auto

ESC = 0x1B
ESCAPE_KEY = b"\x1b[27u"
"""The Escape key in kitty's protocol, which no sequence begins with."""

PASTE_START, PASTE_END = b"\x1b[200~", b"\x1b[201~"
FOCUS = (b"\x1b[I", b"\x1b[O")

ESCAPE_DELAY = 0.1
"""Seconds after which a lone escape byte is the Escape key."""

LATE_DELAY = 0.5
"""Seconds that `P` or `O` soon after an Escape key waits for the rest of a sequence."""

PATIENCE = 10.0
"""Seconds to wait for the rest of a sequence. Later bytes that look like one key are a key."""

LONGEST = 4096
"""Bytes of a reply that are kept; the rest is dropped."""

STRINGS = {ord("P"): "dcs", ord("]"): "osc", ord("_"): "apc", ord("^"): "pm", ord("X"): "sos"}
"""Introducers of strings."""

STRING_STARTS = {
    "dcs": b"0123456789>$!+|{@=?<",
    "osc": b"0123456789lLI",
    "apc": b"G",
    "pm": b"",
    "sos": b"",
}
"""First bytes of the strings that terminals send; Alt+] and a letter later are no string."""

ANY_START = ("osc", "apc")
"""Strings that may begin otherwise within one read: no key of a page has their introducer."""

LEAVE = (0x03, 0x11)
"""Ctrl+C and Ctrl+Q, which must work also inside a reply that never ends."""

CANCEL = (0x18, 0x1A)
BELL = 0x07
ENTER = 0x0D
C1, FIRST_OF_C1 = range(0x80, 0xA0), 0xC2
"""8-bit controls, and the byte that stands before them in UTF-8."""

INTRODUCERS = b"[]OP_"
"""What makes a sequence with an escape byte before it; the 8-bit controls are 0x40 above them."""

LATE_KEYS = (b"\x1bO", b"\x1bP")
"""Those of them that are a page's keys too."""

STRING_TERMINATOR = 0x9C
CSI_REST = re.compile(rb"[0-?]+[ -/]*[@-~]|[ -/]+[@-~]")
STRING_REST = re.compile(rb"[^\x1b\x07]*(\x1b\\|\x07)")
"""The rest of a sequence, within one read: more than a person types at a time."""

FIRST_FINAL, LAST_FINAL = 0x40, 0x7E
X10_MOUSE_BYTES = 3


class State(Enum):
    """Where in a sequence the next byte is."""

    GROUND = auto()
    CHARACTER = auto()
    ESCAPE = auto()
    CSI = auto()
    SS3 = auto()
    LINUX_KEY = auto()
    X10_MOUSE = auto()
    STRING_START = auto()
    STRING = auto()
    STRING_ESCAPE = auto()
    PASTE = auto()
    PASTE_ESCAPE = auto()


def continuation_bytes(first: int) -> int:
    """How many bytes of a UTF-8 character follow this first one; 0 where it begins none."""
    if first < FIRST_OF_C1:
        return 0
    return 1 if first < 0xE0 else 2 if first < 0xF0 else 3
