"""Pictures by kitty's graphics protocol with Unicode placeholders: kitty, Ghostty; also inside
tmux.

A picture is sent once, under an id, with a virtual placement in cells. From then on it is
text: placeholder characters whose colour names the id, which the compositor and tmux move like any
other. https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from PIL import Image
from rich.segment import Segment

from hero_tui.graphics.byte_budget import palette_png
from hero_tui.graphics.kitty_diacritics import DIACRITICS
from hero_tui.graphics.painter import Box, Drawing, blank
from hero_tui.graphics.tmux import through_tmux

PLACEHOLDER = "\U0010eeee"
CHUNK = 4096
"""Base64 bytes a command may carry."""

NUMBERS = range(16, 256)
"""Low bytes of ids. As colours, those below 16 have names of their own, which tmux changes to."""


class KittyPainter:
    """Sends 8-bit palette PNGs; every id belongs to this process and is deleted when forgotten.

    The id's low byte is the placeholder's colour in the 256-colour palette, which survives
    terminals and tmux without true colour; the high byte is the third diacritic, and random, so
    that two programs in one terminal do not draw each other's pictures.
    """

    name = "kitty"

    def __init__(self, *, tmux: bool = False, session: int | None = None) -> None:
        self.tmux = tmux
        self.session = session if session is not None else 1 + os.urandom(1)[0] % 127
        self._numbers = itertools.cycle(NUMBERS)

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode the picture, never larger than it is: the terminal scales it to the box."""
        number = next(self._numbers)
        fitted = box.fit(picture.size)
        columns, rows = _cells(fitted, box)
        data = palette_png(picture, fitted)
        left, above = (box.columns - columns) // 2, (box.rows - rows) // 2
        lines = tuple(
            (
                blank(left),
                self._cells(number, y - above, columns),
                blank(box.columns - columns - left),
            )
            if 0 <= y - above < rows
            else (blank(box.columns),)
            for y in range(box.rows)
        )
        image = (self.session << 24) | number
        upload = "".join(map(self._wrap, _transmission(image, data, columns, rows)))
        return Drawing(box, lines, upload=upload, forget=self._wrap(_delete(image)))

    def _cells(self, number: int, row: int, columns: int) -> Segment:
        """One row of placeholders: the first says row, column and high byte, the rest inherit."""
        first = PLACEHOLDER + DIACRITICS[row] + DIACRITICS[0] + DIACRITICS[self.session]
        return Segment(f"\x1b[38;5;{number}m{first}{PLACEHOLDER * (columns - 1)}")

    def _wrap(self, command: str) -> str:
        return through_tmux(command) if self.tmux else command


def _cells(fitted: tuple[int, int], box: Box) -> tuple[int, int]:
    """Cells that hold the picture; the terminal centres it in them, keeping its proportions."""
    columns = -(-fitted[0] // box.cell[0])
    rows = min(-(-fitted[1] // box.cell[1]), len(DIACRITICS))
    return columns, rows


def _transmission(image: int, data: str, columns: int, rows: int) -> Iterator[str]:
    """The commands that send a PNG (f=100) and place it virtually (U=1), silently (q=2)."""
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    head = f"a=T,U=1,f=100,t=d,i={image},c={columns},r={rows},q=2,"
    for index, chunk in enumerate(chunks):
        more = int(index < len(chunks) - 1)
        yield f"\x1b_G{head if index == 0 else 'q=2,'}m={more};{chunk}\x1b\\"


def _delete(image: int) -> str:
    return f"\x1b_Ga=d,d=I,i={image},q=2\x1b\\"
