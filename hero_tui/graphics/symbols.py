"""Pictures as block characters: for any terminal, over any connection."""

from __future__ import annotations

import math
from collections.abc import Iterator

from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from hero_tui.graphics.block_art import BlockArt, block_art
from hero_tui.graphics.painter import Box, Drawing, blank


class SymbolPainter:
    """Draws with halves, quadrants and eighths; about 2x4 readable points a cell.

    In true colour: Rich reduces colours later for terminals that have fewer.
    """

    name = "symbols"

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode the picture as styled text, centred in the box."""
        width, height = box.fit(picture.size)
        columns = min(box.columns, _cells(width, box.cell[0]))
        rows = min(box.rows, _cells(height, box.cell[1]))
        art = block_art(picture, columns, rows)
        lines = [tuple(_row(art, y)) for y in range(rows)]
        return Drawing(box, tuple(_centred(lines, columns, box)))


def _cells(pixels: int, cell: int) -> int:
    """Whole cells for this many pixels; a part of a cell counts when it is more than a quarter."""
    return max(1, math.ceil(pixels / cell - 0.25))


def _row(art: BlockArt, y: int) -> Iterator[Segment]:
    row = zip(art.characters[y], art.inks[y].tolist(), art.grounds[y].tolist(), strict=True)
    for character, ink, ground in row:
        background = Color.from_rgb(*ground)
        color = None if character == " " else Color.from_rgb(*ink)
        yield Segment(str(character), Style(color=color, bgcolor=background))


def _centred(
    art: list[tuple[Segment, ...]], columns: int, box: Box
) -> Iterator[tuple[Segment, ...]]:
    left = (box.columns - columns) // 2
    right = box.columns - columns - left
    above = (box.rows - len(art)) // 2
    empty = (blank(box.columns),)
    for y in range(box.rows):
        inside = 0 <= y - above < len(art)
        yield (blank(left), *art[y - above], blank(right)) if inside else empty
