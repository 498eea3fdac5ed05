"""Pictures as sixel.

Xterm, foot, WezTerm, Konsole, mlterm, Windows Terminal, tmux 3.4 and later.
"""

from __future__ import annotations

from bisect import bisect_left

from chafa import TermDb
from PIL import Image

from hero_tui.graphics.budget import SIXEL_BYTES, allowance
from hero_tui.graphics.chafa_canvas import draw, sixel_config
from hero_tui.graphics.drawing import Box, Drawing, blank, over_cells

BAND = 6
"""A sixel is six pixels high; any other height smears the last band over the row below."""

PALETTES = (64, 48, 32, 24, 16, 12, 8, 4, 2)
"""Colours tried, until a picture is within its allowance: a sixel cannot be sent smaller."""


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
        empty = (blank(box.columns),)
        last = (*empty, over_cells(data, box, left))
        return Drawing(box, (*[empty] * (box.rows - 1), last))


def _whole_bands(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    whole = max(BAND, height - height % BAND)
    return max(1, round(width * whole / height)), whole


def _encode(picture: Image.Image) -> str:
    """The picture in as many colours as its allowance has room for."""
    most = allowance(picture.size, SIXEL_BYTES)
    finest = _sixel(picture, PALETTES[0])
    if len(finest) <= most:
        return finest
    tried = {colours: "" for colours in PALETTES[1:]}

    def fits(colours: int) -> bool:
        tried[colours] = _sixel(picture, colours)
        return len(tried[colours]) <= most

    first = bisect_left(PALETTES[1:-1], True, key=fits)
    chosen = PALETTES[1:][first]
    return tried[chosen] or _sixel(picture, chosen)


def _sixel(picture: Image.Image, colours: int) -> str:
    """An octree keeps the colours of small things, a blue cuff, where a median cut drops them."""
    few = picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    canvas = draw(few.convert("RGB"), sixel_config(*few.size))
    printed: bytes = canvas.print(TermDb().get_fallback_info())
    return printed.decode("ascii").strip()
