"""What a terminal can show, by its answers: its name, its attributes, the size of a cell.

The kitty graphics query is never sent: programs that do not know it print it, or make it a title.
Terminals with Unicode placeholders say their name, and that is enough.
"""

from __future__ import annotations

import fcntl
import re
import struct
import termios
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hero_tui.graphics.painter import DEFAULT_CELL
from hero_tui.graphics.tmux import Tmux

ASK_NAME, ASK_CELL, ASK_ATTRIBUTES = "\x1b[>q", "\x1b[16t", "\x1b[c"
"""XTVERSION, a cell's size in pixels, and primary device attributes (DA1)."""

ASK_SIXEL_LIMIT = "\x1b[?2;4;0S"
"""The largest sixel picture (XTSMGRAPHICS)."""

ASK_KEYS = "\x1b[?u"
"""The flags of kitty's keyboard protocol."""

NAMELESS = ("linux", "rxvt", "putty", "vt", "ansi")
"""What TERM begins with where only DA1 is safe to ask."""

REPLIES = re.compile(
    rb"\x1bP>\|(?P<name>[^\x1b]*)\x1b\\"
    rb"|\x1b\[6;(?P<height>\d+);(?P<width>\d+)t"
    rb"|\x1b\[\?(?P<attributes>[\d;]*)c"
    rb"|\x1b\[\?2;0;(?P<most_width>\d+);(?P<most_height>\d+)S"
)
SIXEL_ATTRIBUTE = b"4"
PLACEHOLDER_TERMINALS = ("kitty", "ghostty")
"""WezTerm and Konsole know kitty's protocol too, but do not draw Unicode placeholders."""

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

XTERM_LIMIT = (1000, 1000)
"""xterm drops sixel pictures larger than this, unless its maxGraphicSize says otherwise."""

FEW_COLOURS = (
    "Only 16 colours: details are hard to judge. "
    "Quit, run export TERM=xterm-256color COLORTERM=truecolor, and start again."
)


@dataclass(frozen=True)
class Terminal:
    """What a terminal said about itself.

    `cell` is the size of a character in pixels (width, height); `sixel_limit` the largest sixel
    picture in pixels (width, height), or None if it is not limited; `hint` is a line for the
    person, or "". `answered`: whether DA1 came, the last of the answers.
    """

    kitty: bool = False
    iterm: bool = False
    sixel: bool = False
    cell: tuple[int, int] = DEFAULT_CELL
    name: str = ""
    tmux: bool = False
    sixel_limit: tuple[int, int] | None = None
    hint: str = ""
    answered: bool = False

    @property
    def true_colour(self) -> bool:
        """Whether its name is known to mean 24-bit colours; ssh does not hand COLORTERM on."""
        return self.name.lower().startswith(TRUE_COLOUR_TERMINALS)

    @property
    def best(self) -> str:
        """The finest way to show pictures here: kitty, iterm, sixel or symbols."""
        ways = {"kitty": self.kitty, "iterm": self.iterm, "sixel": self.sixel}
        return next((way for way, can in ways.items() if can), "symbols")


class TerminalAnswers:
    """Collects replies, in any order and at any time, into a `Terminal`.

    tmux: what tmux says of itself, where it is in between.
    """

    def __init__(self, tmux: Tmux | None = None, window_cell: tuple[int, int] = (0, 0)) -> None:
        self.tmux = tmux
        self.window_cell = window_cell
        self._found: dict[str, bytes] = {}

    def take(self, reply: bytes) -> bool:
        """Remember a reply; False if it says nothing about pictures."""
        match = REPLIES.fullmatch(reply)
        if match is None:
            return False
        self._found |= {name: text for name, text in match.groupdict().items() if text is not None}
        return True

    @property
    def complete(self) -> bool:
        """Whether the answer to DA1 came, which is asked last and which every terminal knows."""
        return "attributes" in self._found

    @property
    def terminal(self) -> Terminal:
        """What the replies so far mean."""
        name = self._found.get("name", b"").decode("ascii", "replace")
        said = Terminal(
            kitty=draws_placeholders(name),
            iterm=name.lower().startswith(INLINE_TERMINALS),
            sixel=SIXEL_ATTRIBUTE in self._found.get("attributes", b"").split(b";"),
            cell=self._size("width", "height") or self._window_cell(),
            name=name,
            sixel_limit=self._sixel_limit(name),
            answered=self.complete,
        )
        return said if self.tmux is None else _inside_tmux(said, self.tmux)

    def _window_cell(self) -> tuple[int, int]:
        return self.window_cell if all(self.window_cell) else DEFAULT_CELL

    def _sixel_limit(self, name: str) -> tuple[int, int] | None:
        default = XTERM_LIMIT if name.lower().startswith("xterm(") else None
        return self._size("most_width", "most_height") or default

    def _size(self, width: str, height: str) -> tuple[int, int] | None:
        size = int(self._found.get(width, b"0")), int(self._found.get(height, b"0"))
        return size if all(size) else None


def questions(environ: Mapping[str, str]) -> str:
    """What to ask; only what the terminal, by its name, does not print."""
    term = environ.get("TERM", "")
    if term in ("", "dumb"):
        return ""
    apple = environ.get("TERM_PROGRAM") == "Apple_Terminal"
    if apple or term.startswith(NAMELESS):
        return ASK_ATTRIBUTES
    return ASK_NAME + ASK_CELL + ASK_ATTRIBUTES


def window_cell(fd: int) -> tuple[int, int]:
    """Pixels of a cell (width, height) by the kernel's window size; zeros if it has none."""
    try:
        packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return 0, 0
    rows, columns, width, height = struct.unpack("HHHH", packed)
    if not (rows and columns and width // columns and height // rows):
        return 0, 0
    return width // columns, height // rows


def draws_placeholders(name: str) -> bool:
    """Whether a terminal of this name (XTVERSION's) shows kitty pictures as we place them."""
    return name.lower().startswith(PLACEHOLDER_TERMINALS) and not OLD_KITTY.match(name)


def is_old_kitty(name: str) -> bool:
    """Whether a terminal of this name is a kitty that has graphics, but no placeholders."""
    return OLD_KITTY.match(name) is not None


def colours(environ: Mapping[str, str]) -> int:
    """How many colours the text gets: 1, 16, 256 or 2**24, as Rich and Textual decide it."""
    term = environ.get("TERM", "").strip().lower()
    if term in ("dumb", "unknown") or environ.get("NO_COLOR"):
        return 1
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return 2**24
    return 256 if term.endswith(("-256color", "kitty")) else 16


def colour_hint(terminal: Terminal, environ: Mapping[str, str]) -> str:
    """What to say where pictures are characters in too few colours, else ""."""
    few = not terminal.true_colour and colours(environ) <= 16
    return FEW_COLOURS if few and terminal.best == "symbols" else ""


def _inside_tmux(said: Terminal, tmux: Tmux) -> Terminal:
    """Inside tmux the outer terminal decides about kitty, and tmux itself about sixel."""
    able = draws_placeholders(tmux.outer)
    sixel = said.sixel and not tmux.drops_sixel
    hint = ""
    if able and not tmux.passthrough:
        hint = "sharper pictures in tmux: tmux set -p allow-passthrough on, then start hero again"
    elif said.sixel and not sixel:
        hint = (
            f"Pictures are characters: tmux {tmux.version} keeps only {tmux.SIXEL_IMAGES} sixel "
            "pictures. For sharp pictures start hero outside tmux."
        )
    return replace(
        said,
        tmux=True,
        kitty=able and tmux.passthrough,
        iterm=False,
        sixel=sixel,
        sixel_limit=None,
        hint=hint,
    )
