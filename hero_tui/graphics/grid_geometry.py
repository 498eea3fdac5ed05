"""Which grid of tiles fits a terminal. Arithmetic on cells and pixels, without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import ceil

from hero_tui.graphics.painter import Box

GAP = 1
"""Blank columns between tiles."""

CAPTION = 1
"""Rows under a picture."""

READABLE_ROWS = 8
"""Picture height below which block characters stop showing fingers."""

READABLE_PIXELS = 90
"""Picture height below which a thumbnail stops showing fingers."""


@dataclass(frozen=True)
class Grid:
    """Tiles of one page: `columns` x `rows`, each with a picture box and one caption row.

    `space` is the number of blank rows between rows of tiles.
    """

    columns: int
    rows: int
    box: Box
    space: int = 0

    @classmethod
    def single(cls, cell: tuple[int, int]) -> Grid:
        """One tile of one cell, for before there is room."""
        return cls(1, 1, Box(1, 1, cell))

    @property
    def tiles(self) -> int:
        """Tiles a page holds."""
        return self.columns * self.rows

    @property
    def width(self) -> int:
        """Columns of the whole grid, with the gaps between tiles."""
        return self.columns * (self.box.columns + GAP) - GAP

    def pages(self, count: int) -> int:
        """Pages that `count` pictures need; at least one."""
        return max(1, -(-count // self.tiles))

    def page_of(self, image: int) -> int:
        """The page a picture is on."""
        return image // self.tiles

    def images(self, page: int, count: int) -> range:
        """The pictures of a page."""
        return range(page * self.tiles, min(count, (page + 1) * self.tiles))


def choose_grid(
    width: int,
    height: int,
    cell: tuple[int, int],
    count: int,
    *,
    symbols: bool,
    most: tuple[int, int] = (8, 4),
    aspect: float = 1.0,
) -> Grid:
    """The grid for `count` pictures in width x height cells.

    It needs as few pages as readable pictures allow, and has the largest pictures for that many
    pages. When nothing is readable, it has the largest picture there is room for. A picture fills
    the rows of its box, so that its caption touches it.
    most: columns and rows that there are keys for. aspect: a picture's width / height.
    """
    whole = _mostly_whole if symbols else int
    grids = [
        grid
        for columns, rows in product(range(1, most[0] + 1), range(1, most[1] + 1))
        for space in (0, 1)
        if (grid := _grid(columns, rows, space, Box(width, height, cell), whole, aspect))
    ]
    if not grids:
        return Grid(1, 1, Box(max(1, width), max(1, height - CAPTION), cell))
    readable = [grid for grid in grids if _readable(grid, symbols)] or [max(grids, key=_side)]
    fewest = min(grid.pages(count) for grid in readable)
    return max(
        (grid for grid in readable if grid.pages(count) == fewest),
        key=lambda grid: (_side(grid) + grid.space * cell[1], -grid.tiles, grid.space),
    )


def _grid(
    columns: int, rows: int, space: int, room: Box, whole: Callable[[float], int], aspect: float
) -> Grid | None:
    """The largest boxes for this many tiles, `space` blank rows between rows of tiles.

    None if there is no room. whole: rows for a height in rows. A box is as many whole rows high
    as its picture: the picture loses less than a row, and no blank row comes above its caption.
    """
    space = space if rows > 1 else 0
    widest = (room.columns + GAP) // columns - GAP
    highest = (room.rows + space) // rows - CAPTION - space
    if widest < MINIMUM_COLUMNS or highest < 1:
        return None
    high = max(1, min(highest, whole(widest * room.cell[0] / aspect / room.cell[1])))
    wide = ceil(high * room.cell[1] * aspect / room.cell[0])
    box = Box(min(widest, max(MINIMUM_COLUMNS, wide)), high, room.cell)
    return Grid(columns, rows, box, space)


def picture_box(
    columns: int,
    rows: int,
    cell: tuple[int, int],
    *,
    aspect: float = 1.0,
    limit: tuple[int, int] | None = None,
) -> Box:
    """The largest box for one picture in columns x rows cells, at least one cell.

    aspect: the picture's width / height. limit: pixels that the terminal draws at most.
    """
    if limit is not None:
        columns, rows = min(columns, limit[0] // cell[0]), min(rows, limit[1] // cell[1])
    width, height = Box(max(1, columns), max(1, rows), cell).fit((aspect, 1.0))
    return Box(max(1, width // cell[0]), max(1, height // cell[1]), cell)


MINIMUM_COLUMNS = 8
"""A caption needs them: the letter, the mark, the word."""


def _side(grid: Grid) -> int:
    return min(grid.box.pixels)


def _readable(grid: Grid, symbols: bool) -> bool:
    return grid.box.rows >= READABLE_ROWS if symbols else _side(grid) >= READABLE_PIXELS


def _mostly_whole(rows: float) -> int:
    """Characters stretch a picture by up to a quarter of a row."""
    return ceil(rows - 0.25)
