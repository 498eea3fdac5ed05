"""Pictures as block characters: for any terminal, over any connection."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chafa import Canvas
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from hero_tui.graphics.chafa_canvas import draw, symbol_config
from hero_tui.graphics.painter import Box, Drawing, blank

PIXELS_PER_CELL = 8


class SymbolPainter:
    """Draws with halves, quadrants and eighths; about 2x4 readable points a cell."""

    name = "symbols"

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode the picture as styled text, centred in the box."""
        width, height = box.fit(picture.size)
        columns = min(box.columns, _cells(width, box.cell[0]))
        rows = min(box.rows, _cells(height, box.cell[1]))
        canvas = draw(_shrink(picture, columns, rows), symbol_config(columns, rows))
        art = [tuple(_row(canvas, y, columns)) for y in range(rows)]
        return Drawing(box, tuple(_centred(art, columns, box)))


def _cells(pixels: int, cell: int) -> int:
    """Whole cells for so many pixels; a part of a cell counts when it is more than a quarter."""
    return max(1, math.ceil(pixels / cell - 0.25))


def _shrink(picture: Image.Image, columns: int, rows: int) -> Image.Image:
    """Average down to what chafa looks at, so that thin fingers do not fall between samples."""
    size = columns * PIXELS_PER_CELL, rows * PIXELS_PER_CELL
    return picture.resize(size, Image.Resampling.LANCZOS)


def _row(canvas: Canvas, y: int, columns: int) -> Iterator[Segment]:
    for x in range(columns):
        cell = canvas[y, x]
        style = Style(color=_color(cell.fg_color), bgcolor=_color(cell.bg_color))
        yield Segment(cell.char, style)


def _color(rgb: tuple[int, int, int] | None) -> Color | None:
    return None if rgb is None else Color.from_rgb(*rgb)


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
