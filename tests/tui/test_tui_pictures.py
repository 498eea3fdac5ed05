"""The app on a pty: every tile shows its own picture, and marking sends no picture again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_engine import paint
from fake_terminal import CELL_HEIGHT, CELL_WIDTH, FakeTerminal
from PIL import Image

from hero_tui.geometry import choose_grid
from hero_tui.keymap import tile_keys

SCRIPT = Path(__file__).with_name("play_terminal.py")
BATCH = 24
COLUMNS, ROWS = 120, 40
LINES_AROUND = 5


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[FakeTerminal]:
    fake = FakeTerminal(request.param, COLUMNS, ROWS)
    yield fake
    fake.close()


def play(fake: FakeTerminal, run_dir: Path, graphics: str = "auto") -> None:
    options = f"--batch {BATCH} --rounds 2 --pace 0 --graphics {graphics}".split()
    fake.run(SCRIPT, str(run_dir), *options)
    fake.pump(lambda: fake.shows("your turn"))


def tiles(fake: FakeTerminal, symbols: bool = False) -> list[np.ndarray]:
    """The pixels of the page's tiles, found by the grid's geometry and its place on the screen."""
    cell = CELL_WIDTH, CELL_HEIGHT
    grid = choose_grid(COLUMNS - 2, ROWS - LINES_AROUND, cell, BATCH, symbols=symbols)
    corner = f" {tile_keys(grid.rows, grid.columns)[0]} "
    first, left = next(
        (y, line.index(corner)) for y, line in enumerate(fake.screen.display) if corner in line[:40]
    )
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


def distance(shown: np.ndarray, index: int) -> float:
    """Mean absolute difference between a tile and a picture of the round, in grey levels."""
    height, width, _ = shown.shape
    source = paint(0, index).resize((width, height), Image.Resampling.LANCZOS)
    return float(np.abs(shown.astype(int) - np.asarray(source)).mean())


def all_drawn(fake: FakeTerminal) -> bool:
    if fake.screen.kitty_cells:
        fake.screen.paint_placeholders()
    return all(tile.any() for tile in tiles(fake))


@pytest.mark.parametrize("terminal", ["kitty", "xterm"], indirect=True)
def test_every_tile_shows_its_own_picture(terminal: FakeTerminal, tmp_path: Path) -> None:
    play(terminal, tmp_path)
    terminal.pump(lambda: all_drawn(terminal))
    for index, shown in enumerate(tiles(terminal)):
        distances = [distance(shown, other) for other in range(BATCH)]
        assert distances[index] < 20
        assert int(np.argmin(distances)) == index


@pytest.mark.parametrize("terminal", ["kitty", "xterm"], indirect=True)
def test_marking_sends_a_few_bytes_and_no_picture(terminal: FakeTerminal, tmp_path: Path) -> None:
    play(terminal, tmp_path)
    terminal.pump(lambda: all_drawn(terminal))
    terminal.listen(0.3)
    before = [tile.copy() for tile in tiles(terminal)]
    sent = terminal.screen.sixels_sent, terminal.screen.kitty_sent
    heard = len(terminal.heard)
    terminal.type("w")
    terminal.pump(lambda: terminal.shows("● good"))
    terminal.listen(0.2)
    assert (terminal.screen.sixels_sent, terminal.screen.kitty_sent) == sent
    assert len(terminal.heard) - heard < 1000
    all_drawn(terminal)
    assert all((old == new).all() for old, new in zip(before, tiles(terminal), strict=True))


@pytest.mark.parametrize("terminal", ["kitty"], indirect=True)
def test_leaving_frees_every_picture_and_the_screen(terminal: FakeTerminal, tmp_path: Path) -> None:
    play(terminal, tmp_path)
    terminal.pump(lambda: all_drawn(terminal))
    assert len(terminal.screen.kitty_images) == BATCH
    terminal.type("\x11")
    terminal.pump(terminal.ended)
    terminal.listen(0.2)
    assert terminal.screen.kitty_images == {}
    assert "\x1b[?1049l" in terminal.heard and "\x1b[?25h" in terminal.heard
    assert terminal.heard.rstrip().endswith(f"hero resume {tmp_path}")
