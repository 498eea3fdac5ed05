"""Grids for terminals from 80x24 to 4K: nothing overflows, every tile has a key."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hero_tui.graphics.choose_painter import choose_painter
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.grid_geometry import CAPTION, GAP, choose_grid
from hero_tui.graphics.painter import Box, Drawing
from hero_tui.keyboard.tile_keys import tile_keys


@given(
    st.integers(20, 600),
    st.integers(8, 160),
    st.tuples(st.integers(4, 30), st.integers(8, 60)),
    st.integers(1, 256),
    st.booleans(),
)
def test_a_grid_fits_its_space_and_every_picture_has_one_place(
    width: int, height: int, cell: tuple[int, int], count: int, symbols: bool
) -> None:
    grid = choose_grid(width, height, cell, count, symbols=symbols)
    tall = grid.rows * (grid.box.rows + CAPTION) + grid.space * (grid.rows - 1)
    assert grid.width <= width
    assert tall <= height
    assert len(set(tile_keys("qwerty").page(grid.rows, grid.columns))) == grid.tiles
    shown = [image for page in range(grid.pages(count)) for image in grid.images(page, count)]
    assert shown == list(range(count))
    assert all(image in grid.images(grid.page_of(image), count) for image in shown)


@pytest.mark.parametrize(
    ("width", "height", "symbols", "tiles", "pixels"),
    [
        (78, 19, True, 8, 128),
        (78, 19, False, 12, 96),
        (118, 35, True, 18, 144),
        (148, 43, False, 32, 128),
    ],
)
def test_usual_terminals_get_readable_pictures_on_few_pages(
    width: int, height: int, symbols: bool, tiles: int, pixels: int
) -> None:
    grid = choose_grid(width, height, (8, 16), 64, symbols=symbols)
    assert (grid.tiles, min(grid.box.pixels)) == (tiles, pixels)


@given(
    st.integers(78, 478),
    st.integers(20, 126),
    st.sampled_from([(8, 16), (10, 20), (7, 15), (16, 32)]),
    st.integers(1, 256),
    st.booleans(),
    st.sampled_from(["qwerty", "azerty-wide", "uiop jkl;", "qwe asd"]),
)
def test_tiles_never_overlap_nor_leave_the_screen_and_each_has_a_key(
    width: int, height: int, cell: tuple[int, int], count: int, symbols: bool, keyboard: str
) -> None:
    keys = tile_keys(keyboard)
    most = keys.columns, len(keys.rows)
    grid = choose_grid(width, height, cell, count, symbols=symbols, most=most)
    taken = set[tuple[int, int]]()
    for row in range(grid.rows):
        for column in range(grid.columns):
            left = column * (grid.box.columns + GAP)
            top = row * (grid.box.rows + CAPTION + grid.space)
            corners = {(left, top), (left + grid.box.columns, top + grid.box.rows + CAPTION)}
            assert all(0 <= x <= width and 0 <= y <= height for x, y in corners)
            mine = {(left, y) for y in range(top, top + grid.box.rows + CAPTION)}
            assert not mine & taken
            taken |= mine
    named = keys.page(grid.rows, grid.columns)
    assert len(named) == len(set(named)) == grid.tiles


CELLS = [(6, 13), (7, 15), (8, 16), (8, 17), (9, 19), (10, 20), (12, 25), (16, 32)]
GAPS = {"kitty": 0, "iterm": 0, "sixel": 5, "symbols": 0}
"""Pixels that may be blank between a picture and its caption. A sixel band has six."""


def blank_below(protocol: str, drawing: Drawing) -> int:
    """Pixels of the box below the picture, as the protocol's own drawing has it."""
    box, text = drawing.box, "".join(each.text for line in drawing.lines for each in line)
    rows = box.rows
    match protocol:
        case "sixel":
            return rows * box.cell[1] - int(re.findall(r'"1;1;\d+;(\d+)', text)[0])
        case "iterm":
            rows = int(re.findall(r"height=(\d+)", text)[0])
        case _:
            drawn = [
                any(each.text.strip() or each.style is not None for each in line)
                for line in drawing.lines
            ]
            rows = len(drawn) - drawn[::-1].index(True)
    return (box.rows - rows) * box.cell[1]


@settings(max_examples=120, deadline=None)
@given(
    st.integers(78, 300),
    st.integers(18, 100),
    st.sampled_from(CELLS),
    st.sampled_from([16, 32, 64]),
    st.sampled_from(list(GAPS)),
    st.sampled_from([(64, 64), (96, 64), (64, 96)]),
)
def test_every_caption_touches_its_own_picture(
    width: int,
    height: int,
    cell: tuple[int, int],
    count: int,
    protocol: str,
    size: tuple[int, int],
) -> None:
    """Less than half a row is blank above a caption, and what comes below it is not nearer."""
    grid = choose_grid(
        width, height, cell, count, symbols=protocol == "symbols", aspect=size[0] / size[1]
    )
    painter = choose_painter(protocol, Terminal())
    drawing = painter.paint(Image.new("RGB", size, "white"), grid.box)
    gap = blank_below(protocol, drawing)
    assert gap <= GAPS[protocol] < cell[1] / 2
    assert drawing.box == grid.box


def test_the_property_sees_a_blank_row() -> None:
    """A box one row too high for its picture, as grids had it before."""
    painter = choose_painter("sixel", Terminal())
    drawing = painter.paint(Image.new("RGB", (64, 64), "white"), Box(13, 7, (8, 16)))
    assert blank_below("sixel", drawing) > GAPS["sixel"]


def test_a_large_terminal_has_as_many_tiles_as_there_are_keys() -> None:
    narrow, wide = (
        choose_grid(478, 126, (8, 16), 64, symbols=False, most=most) for most in ((8, 4), (10, 4))
    )
    assert (narrow.tiles, wide.tiles) == (32, 32)
    assert min(narrow.box.pixels) >= 440
    many = choose_grid(478, 126, (8, 16), 80, symbols=False, most=(10, 4))
    assert many.tiles == 40
