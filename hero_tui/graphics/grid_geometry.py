"""Which grid of tiles fits a terminal: pure arithmetic on cells and pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from hero_tui.graphics.painter import Box

GAP = 1
"""Blank columns between tiles."""

CAPTION = 1
"""Rows under a picture."""

READABLE_ROWS = 8
"""Picture height below which block characters stop showing fingers."""

READABLE_PIXELS = 96
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
) -> Grid:
    """The grid for `count` square pictures in width x height cells.

    As few pages as readable pictures allow, and then the largest pictures for that many pages.
    When nothing is readable, the largest picture there is room for. most: columns and rows that
    there are keys for.
    """
    grids = [
        grid
        for columns, rows in product(range(1, most[0] + 1), range(1, most[1] + 1))
        if (grid := _grid(columns, rows, width, height, cell)) is not None
    ]
    if not grids:
        return Grid(1, 1, Box(max(1, width), max(1, height - CAPTION), cell))
    readable = [grid for grid in grids if _readable(grid, symbols)] or [max(grids, key=_side)]
    fewest = min(grid.pages(count) for grid in readable)
    return max(
        (g for g in readable if g.pages(count) == fewest), key=lambda g: (_side(g), -g.tiles)
    )


def _grid(columns: int, rows: int, width: int, height: int, cell: tuple[int, int]) -> Grid | None:
    """The largest square picture boxes for this many tiles, or None where there is no room."""
    room = Box((width + GAP) // columns - GAP, height // rows - CAPTION, cell)
    if room.columns < MINIMUM_COLUMNS or room.rows < 1:
        return None
    side = min(room.pixels)
    box = Box(max(MINIMUM_COLUMNS, -(-side // cell[0])), -(-side // cell[1]), cell)
    spare = height - rows * (box.rows + CAPTION)
    return Grid(columns, rows, box, space=int(spare >= rows - 1))


def square_box(columns: int, rows: int, cell: tuple[int, int]) -> Box:
    """The largest box for one square picture in columns x rows cells, at least one cell."""
    width, height = Box(max(1, columns), max(1, rows), cell).fit((1, 1))
    return Box(max(1, width // cell[0]), max(1, height // cell[1]), cell)


MINIMUM_COLUMNS = 8
"""A caption needs them: the letter, the mark, the word."""


def _side(grid: Grid) -> int:
    return min(grid.box.pixels)


def _readable(grid: Grid, symbols: bool) -> bool:
    return grid.box.rows >= READABLE_ROWS if symbols else _side(grid) >= READABLE_PIXELS
