"""Which picture every tile of a page of 32 shows, on a terminal of 150x48."""

from __future__ import annotations

import numpy as np
from fake_engine import paint
from fake_terminal import CELL_HEIGHT, CELL_WIDTH, FakeTerminal
from PIL import Image

from hero_tui.graphics.grid_geometry import choose_grid
from hero_tui.keyboard.tile_keys import tile_keys

BATCH = 32
COLUMNS, ROWS = 150, 48
LINES_AROUND = 4
LINES_ABOVE = 2


def tiles(fake: FakeTerminal) -> list[np.ndarray]:
    """The pixels of the page's tiles, found by the grid's geometry and its place on the screen.

    None of them while the first tile's letter is not on the screen.
    """
    cell = CELL_WIDTH, CELL_HEIGHT
    grid = choose_grid(COLUMNS - 2, ROWS - LINES_AROUND, cell, BATCH, symbols=False)
    corner = f" {tile_keys('qwerty').page(grid.rows, grid.columns)[0]} "
    corners = [
        (y, line.index(corner))
        for y, line in enumerate(fake.screen.display)
        if y >= LINES_ABOVE and corner in line[:40]
    ]
    if not corners:
        return []
    first, left = corners[0]
    places = [(row, column) for row in range(grid.rows) for column in range(grid.columns)]
    return [
        fake.screen.cell_pixels(
            left + column * (grid.box.columns + 1),
            first - grid.box.rows + row * (grid.box.rows + 1 + grid.space),
            grid.box.columns,
            grid.box.rows,
        )
        for row, column in places[:BATCH]
    ]


def shown_at(tile: np.ndarray) -> int:
    """Which picture of the round a tile's drawn part shows, by its pixels; -1 for none of them."""
    lit = tile.any(axis=2)
    tile = tile[np.ix_(lit.any(axis=1), lit.any(axis=0))]
    height, width, _ = tile.shape
    distances = []
    for index in range(BATCH):
        source = paint(0, index).resize((width, height), Image.Resampling.LANCZOS)
        distances.append(float(np.abs(tile.astype(int) - np.asarray(source)).mean()))
    return int(np.argmin(distances)) if min(distances) < 20 else -1


def misplaced(fake: FakeTerminal) -> list[int]:
    """Places of the page that show another picture than their own, or none."""
    return [place for place, tile in enumerate(tiles(fake)) if shown_at(tile) != place]


def all_drawn(fake: FakeTerminal) -> bool:
    if fake.screen.kitty_cells:
        fake.screen.paint_placeholders()
    found = tiles(fake)
    return bool(found) and all(tile.any() for tile in found)
