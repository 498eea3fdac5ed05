"""Pictures as sixel.

Xterm, foot, WezTerm, Konsole, mlterm, Windows Terminal, tmux 3.4 and later.
"""

from __future__ import annotations

from chafa import TermDb
from PIL import Image
from rich.segment import ControlType, Segment

from hero_tui.graphics.chafa_canvas import draw, sixel_config
from hero_tui.graphics.drawing import Box, Drawing, blank

BAND = 6
"""A sixel is six pixels high; any other height smears the last band over the row below."""

COLOURS = 48
"""Palette of one picture.

A page of 32 drawn hands of 128 pixels then takes 436 KB, with 128 colours 650 KB.
"""


class SixelPainter:
    """Blank cells, then the whole picture drawn over them from the end of the last row.

    Textual writes rows from the top, and text written over a sixel erases it, so the picture rides
    at the end of the last row, with the cursor put back where it was. A caption below never
    touches it.
    """

    name = "sixel"

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode the picture at the box's pixel size, height a multiple of six."""
        width, height = _whole_bands(box.fit(picture.size))
        left = (box.columns - -(-width // box.cell[0])) // 2
        data = _encode(picture.resize((width, height), Image.Resampling.LANCZOS))
        rows = [(blank(box.columns),) for _ in range(box.rows - 1)]
        last = (blank(box.columns), _placed(data, box, left))
        return Drawing(box, (*rows, last))


def _whole_bands(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    whole = max(BAND, height - height % BAND)
    return max(1, round(width * whole / height)), whole


def _encode(picture: Image.Image) -> str:
    few = picture.quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
    canvas = draw(few, sixel_config(*few.size))
    printed: bytes = canvas.print(TermDb().get_fallback_info())
    return printed.decode("ascii").strip()


def _placed(data: str, box: Box, left: int) -> Segment:
    """Save the cursor (at the end of the last row), go to the picture's corner, draw, return."""
    up = f"\x1b[{box.rows - 1}A" if box.rows > 1 else ""
    back = box.columns - left
    text = f"\x1b7{up}\x1b[{back}D{data}\x1b8"
    return Segment(text, None, [(ControlType.CURSOR_FORWARD, 0)])
