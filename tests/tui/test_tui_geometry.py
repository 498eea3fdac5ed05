"""Grids for terminals from 80x24 to 4K: nothing overflows, every tile has a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hero_tui.geometry import CAPTION, choose_grid
from hero_tui.keymap import tile_keys


@given(
    st.integers(20, 600),
    st.integers(8, 160),
    st.tuples(st.integers(4, 30), st.integers(8, 60)),
    st.integers(1, 256),
    st.booleans(),
)
def test_a_grid_fits_its_room_and_every_picture_has_one_place(
    width: int, height: int, cell: tuple[int, int], count: int, symbols: bool
) -> None:
    grid = choose_grid(width, height, cell, count, symbols=symbols)
    tall = grid.rows * (grid.box.rows + CAPTION) + grid.space * (grid.rows - 1)
    assert grid.width <= width
    assert tall <= height
    assert len(set(tile_keys(grid.rows, grid.columns))) == grid.tiles
    shown = [image for page in range(grid.pages(count)) for image in grid.images(page, count)]
    assert shown == list(range(count))
    assert all(image in grid.images(grid.page_of(image), count) for image in shown)


@pytest.mark.parametrize(
    ("width", "height", "symbols", "tiles", "pixels"),
    [
        (78, 19, True, 8, 128),
        (78, 19, False, 12, 96),
        (118, 35, True, 18, 144),
        (148, 43, False, 32, 136),
    ],
)
def test_usual_terminals_get_readable_pictures_on_few_pages(
    width: int, height: int, symbols: bool, tiles: int, pixels: int
) -> None:
    grid = choose_grid(width, height, (8, 16), 64, symbols=symbols)
    assert (grid.tiles, min(grid.box.pixels)) == (tiles, pixels)
