"""Asks the terminal what it can show: one batch of questions, one deadline, before the app starts.

The last question, DA1, is one that every terminal answers, so its answer ends the wait. Whatever
the person typed meanwhile is returned and handed to the app.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hero_tui.graphics.painter import DEFAULT_CELL
from hero_tui.graphics.tmux import Tmux, ask_tmux, through_tmux

KITTY_QUESTION = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
OTHER_QUESTIONS = "\x1b[>q\x1b[16t\x1b[c"
DEADLINE = 1.0
"""Seconds; reached only by a terminal that does not even answer DA1."""

REPLIES = re.compile(
    rb"\x1b_Gi=31;(?P<kitty>[^\x1b]*)\x1b\\"
    rb"|\x1bP>\|(?P<name>[^\x1b]*)\x1b\\"
    rb"|\x1b\[6;(?P<height>\d+);(?P<width>\d+)t"
    rb"|\x1b\[\?(?P<device>[\d;]*)c"
)
SIXEL_ATTRIBUTE = b"4"
PLACEHOLDER_TERMINALS = ("kitty", "ghostty")
"""WezTerm and Konsole answer the kitty question too, but do not draw Unicode placeholders."""

OLD_KITTY = re.compile(r"kitty\(0\.(\d|1\d|2[0-7])\.")
"""The versions without Unicode placeholders, which would show nothing; Debian 12 has one."""

INLINE_TERMINALS = ("iterm2", "wezterm")
"""Those that draw iTerm2's inline images, in more colours than their sixel."""

TRUE_COLOUR_TERMINALS = (
    *PLACEHOLDER_TERMINALS,
    "xterm(",
    "wezterm",
    "foot",
    "konsole",
    "iterm2",
    "contour",
    "tmux",
)
"""Names that XTVERSION gives; tmux reduces colours itself for a terminal that has fewer."""


@dataclass(frozen=True)
class Terminal:
    """What a terminal said about itself.

    `cell` is the size of a character in pixels (width, height); `typed` are keys that came in
    between the answers; `hint` is a line for the person, or "".
    """

    kitty: bool = False
    iterm: bool = False
    sixel: bool = False
    cell: tuple[int, int] = DEFAULT_CELL
    name: str = ""
    tmux: bool = False
    typed: bytes = b""
    hint: str = ""

    @property
    def true_colour(self) -> bool:
        """Whether its name is known to mean 24-bit colours; ssh does not hand COLORTERM on."""
        return self.name.lower().startswith(TRUE_COLOUR_TERMINALS)

    @property
    def best(self) -> str:
        """The finest way to show pictures here: kitty, iterm, sixel or symbols."""
        ways = {"kitty": self.kitty, "iterm": self.iterm, "sixel": self.sixel}
        return next((way for way, can in ways.items() if can), "symbols")


def ask(fd: int, environ: Mapping[str, str], *, deadline: float = DEADLINE) -> Terminal:
    """Ask the terminal on `fd`, in raw mode; the mode is restored whatever happens."""
    tmux = ask_tmux(environ)
    question = KITTY_QUESTION if tmux is None else through_tmux(KITTY_QUESTION)
    send = question if tmux is None or tmux.passthrough else ""
    answer = _converse(fd, (send + OTHER_QUESTIONS).encode("ascii"), deadline)
    said = _understand(answer)
    said = replace(said, cell=said.cell if said.cell[0] else cell_size(fd))
    return said if tmux is None else _inside_tmux(said, tmux)


def cell_size(fd: int) -> tuple[int, int]:
    """Pixels of a cell by the window size the kernel knows; 8x16 when it does not."""
    try:
        packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return DEFAULT_CELL
    rows, columns, width, height = struct.unpack("HHHH", packed)
    if not (rows and columns and width // columns and height // rows):
        return DEFAULT_CELL
    return width // columns, height // rows


def _converse(fd: int, question: bytes, deadline: float) -> bytes:
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        os.write(fd, question)
        return _listen(fd, time.monotonic() + deadline)
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def _listen(fd: int, until: float) -> bytes:
    """Read until DA1 is answered or the time is over."""
    heard = b""
    while (left := until - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        piece = os.read(fd, 4096)
        heard += piece
        if not piece or any(match["device"] is not None for match in REPLIES.finditer(heard)):
            break
    return heard


def _understand(heard: bytes) -> Terminal:
    found: dict[str, bytes] = {}
    for match in REPLIES.finditer(heard):
        found |= {name: text for name, text in match.groupdict().items() if text is not None}
    name = found.get("name", b"").decode("ascii", "replace")
    return Terminal(
        kitty=found.get("kitty") == b"OK" and draws_placeholders(name),
        iterm=name.lower().startswith(INLINE_TERMINALS),
        sixel=SIXEL_ATTRIBUTE in found.get("device", b"").split(b";"),
        cell=(int(found.get("width", b"0")), int(found.get("height", b"0"))),
        name=name,
        typed=REPLIES.sub(b"", heard),
    )


def draws_placeholders(name: str) -> bool:
    """Whether a terminal of this name (XTVERSION's) shows kitty pictures as we place them."""
    return name.lower().startswith(PLACEHOLDER_TERMINALS) and not OLD_KITTY.match(name)


def _inside_tmux(said: Terminal, tmux: Tmux) -> Terminal:
    """Inside tmux the outer terminal decides about kitty, and tmux itself about sixel."""
    able = draws_placeholders(tmux.outer)
    hint = ""
    if able and not tmux.passthrough:
        hint = "sharper pictures in tmux: tmux set -p allow-passthrough on, then start hero again"
    return replace(said, tmux=True, kitty=able and tmux.passthrough, hint=hint)
