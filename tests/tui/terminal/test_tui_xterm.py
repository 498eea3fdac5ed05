"""The app in a real xterm under Xvfb: a screenshot's pixels against the pictures' own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import play_terminal
import pytest
from fake_engine import paint
from PIL import Image

from hero_tui.graphics.grid_geometry import choose_grid

SCRIPT = Path(play_terminal.__file__)
NEEDED = ("Xvfb", "xterm", "import")
COLUMNS, ROWS, BATCH = 150, 48, 32
LINES_ABOVE, LINES_AROUND = 2, 4
PATIENCE = 60.0
MISSING = [name for name in NEEDED if shutil.which(name) is None]

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (.ci/run installs them as root)"
)


@contextmanager
def ended_after(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the block."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A screen of its own."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x1000x24", "-nolisten"]
    with ended_after(subprocess.Popen([*command, "tcp"], pass_fds=[writing], stderr=-3)):
        os.close(writing)
        with os.fdopen(reading) as line:
            yield f":{int(line.readline())}"


@contextmanager
def xterm(display: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in an xterm at the screen's corner, without border or scroll bar."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")
    }
    environment |= {"DISPLAY": display, "PYTHONPATH": os.pathsep.join(sys.path)}
    options = f"-ti vt340 -geometry {COLUMNS}x{ROWS}+0+0 -b 0 -bw 0 +sb -bg #010203".split()
    resources = ["-xrm", "xterm*numColorRegisters: 1024"]
    process = subprocess.Popen(
        ["xterm", *options, *resources, "-e", *command],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with ended_after(process):
        yield process


def screenshot(display: str) -> np.ndarray:
    """The screen's pixels, uint8 (height, width, 3)."""
    shot = subprocess.run(
        ["import", "-display", display, "-window", "root", "png:-"], capture_output=True, check=True
    )
    with Image.open(io.BytesIO(shot.stdout), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))


def window_size(shot: np.ndarray) -> tuple[int, int]:
    """Width and height of the terminal, all that is not the black of an empty screen."""
    lit = shot.any(axis=2)
    return int(np.flatnonzero(lit.any(axis=0))[-1]) + 1, int(
        np.flatnonzero(lit.any(axis=1))[-1]
    ) + 1


def tiles(shot: np.ndarray) -> list[np.ndarray]:
    """The pixels of the page's tiles, by the grid's geometry."""
    width, height = window_size(shot)
    cell = width // COLUMNS, height // ROWS
    room = COLUMNS - 2, ROWS - LINES_AROUND
    grid = choose_grid(*room, cell, BATCH, symbols=False)
    tall = grid.rows * (grid.box.rows + 1) + (grid.rows - 1) * grid.space
    left, top = 1 + (room[0] - grid.width) // 2, LINES_ABOVE + (room[1] - tall) // 2
    shown = []
    for place in range(BATCH):
        row, column = divmod(place, grid.columns)
        x = (left + column * (grid.box.columns + 1)) * cell[0]
        y = (top + row * (grid.box.rows + 1 + grid.space)) * cell[1]
        shown.append(shot[y : y + grid.box.pixels[1] - cell[1], x : x + grid.box.pixels[0] - 8])
    return shown


def closest(shown: np.ndarray) -> int:
    """Which of the round's pictures a tile shows: that with the nearest pixels."""
    height, width, _ = shown.shape
    side = max(height, width)
    sources = (
        paint(0, index).resize((side, side)).crop((0, 0, width, height)) for index in range(BATCH)
    )
    distances = [np.abs(shown.astype(int) - np.asarray(source)).mean() for source in sources]
    return int(np.argmin(distances)) if min(distances) < 30 else -1


def misplaced(shot: np.ndarray) -> list[int]:
    """Places of the page that show another picture than their own, or none."""
    return [place for place, tile in enumerate(tiles(shot)) if closest(tile) != place]


def await_page(display: str, wrong: list[int]) -> np.ndarray:
    """The screen once exactly these places are wrong; the last one seen, if that never is so."""
    until = time.monotonic() + PATIENCE
    while True:
        shot = screenshot(display)
        if shot.any() and window_size(shot)[0] >= COLUMNS and misplaced(shot) == wrong:
            return shot
        if time.monotonic() > until:
            return shot
        time.sleep(0.3)


@pytest.mark.parametrize(
    ("options", "wrong"), [((), []), (("--swap", "3", "12"), [3, 12])], ids=["in place", "swapped"]
)
def test_every_tile_of_a_screenshot_is_its_own_picture(
    display: str, tmp_path: Path, options: tuple[str, ...], wrong: list[int]
) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "run"), "--batch", str(BATCH)]
    with ExitStack() as stack:
        stack.enter_context(xterm(display, *command, "--pace", "0", *options))
        assert misplaced(await_page(display, wrong)) == wrong
