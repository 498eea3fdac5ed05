"""Pictures as sixel.

Xterm, foot, WezTerm, Konsole, mlterm, Windows Terminal, tmux 3.4 and later.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from hero_tui.graphics.byte_budget import SIXEL_BYTES, allowance
from hero_tui.graphics.painter import Box, Drawing, blank, over_cells
from hero_tui.graphics.sixel_code import BAND, Sixel

MOST_COLOURS, FEWEST_COLOURS = 64, 2

THRIFT = 1.8
"""To shorten a picture by a factor, the number of colours falls by this power of it."""

SAMPLE = 4
"""One band in this many predicts the length of the whole picture within a tenth."""

CAUTION = 1.06
"""Safety margin on the predicted length: a picture that is too long must be encoded again, which
costs more than a few colours."""


class SixelPainter:
    """Blank cells, then the whole picture drawn over them from the end of the last row.

    Textual writes rows from the top, and text written over a sixel erases it, so the picture rides
    at the end of the last row, with the cursor put back where it was. A caption below never
    touches it.
    """

    name = "sixel"

    def __init__(self, limit: tuple[int, int] | None = None) -> None:
        """limit: the largest picture (width, height) in pixels that the terminal draws."""
        self.limit = limit

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode the picture at the box's pixel size, height a multiple of six: anything else
        smears the last band over the row below."""
        size = _whole_bands(self._within_limit(box.fit(picture.size)))
        shown = self._whole_cells(picture.resize(size, Image.Resampling.LANCZOS), box)
        left = (box.columns - -(-shown.width // box.cell[0])) // 2
        data = _encode(shown)
        empty = (blank(box.columns),)
        last = (*empty, over_cells(data, box, left))
        return Drawing(box, (*[empty] * (box.rows - 1), last))

    def _whole_cells(self, picture: Image.Image, box: Box) -> Image.Image:
        """The picture with its outer columns repeated up to whole cells: mlterm and tmux fill the
        rest of the last cell with a colour of their own."""
        more = -picture.width % box.cell[0]
        if self.limit is not None and picture.width + more > self.limit[0]:
            return picture
        sides = (0, 0), (more // 2, more - more // 2), (0, 0)
        return Image.fromarray(np.pad(np.asarray(picture), sides, mode="edge"))

    def _within_limit(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size, or the largest of its proportions that the terminal draws."""
        if self.limit is None:
            return size
        scale = min(1.0, self.limit[0] / size[0], self.limit[1] / size[1])
        return int(size[0] * scale), int(size[1] * scale)


def _whole_bands(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    whole = max(BAND, height - height % BAND)
    return max(1, round(width * whole / height)), whole


def _encode(picture: Image.Image) -> str:
    """The picture in as many colours as its allowance has room for: it cannot be sent smaller."""
    most = allowance(picture.size, SIXEL_BYTES)
    some = _some_bands(picture)
    predicted = _sixel(some, MOST_COLOURS).length * picture.height / some.height
    colours = _fewer(MOST_COLOURS, most, CAUTION * predicted)
    while (sixel := _sixel(picture, colours)).length > most and colours > FEWEST_COLOURS:
        colours = _fewer(colours, most, sixel.length)
    return sixel.text


def _some_bands(picture: Image.Image) -> Image.Image:
    """One of every SAMPLE bands, the first for one."""
    bands = np.asarray(picture).reshape(-1, BAND, picture.width, 3)
    return Image.fromarray(bands[::SAMPLE].reshape(-1, picture.width, 3))


def _fewer(colours: int, most: int, length: float) -> int:
    """Colours with which a picture of this length should have `most` characters at most."""
    return max(FEWEST_COLOURS, int(colours * min(1.0, most / length) ** THRIFT))


def _sixel(picture: Image.Image, colours: int) -> Sixel:
    """An octree keeps the colours of small things, a blue cuff, where a median cut drops them."""
    return Sixel.of(picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
