"""The app on a pty of 150x48: every tile shows its own picture, and what that costs in bytes."""

from __future__ import annotations

import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import play_terminal
import pytest
from fake_terminal import FakeTerminal
from tile_pixels import BATCH, COLUMNS, ROWS, all_drawn, misplaced, tiles

from hero_tui.commands.bench.bytes_sent import sent

SCRIPT = Path(play_terminal.__file__)
FEW = 280
"""Bytes at most, for a mark or a move."""

TAB, RIGHT, DOWN = "\t", "\x1b[C", "\x1b[B"
FIRST_PAINT = {"kitty": 400_000, "sixel": 500_000}
"""Bytes at most, for 32 pictures of 128 pixels."""

PAGE_AGAIN = 45_000
"""Bytes of a page without its pictures, which is painted once more where the machine is busy while
the app starts."""


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[FakeTerminal]:
    fake = FakeTerminal(request.param, COLUMNS, ROWS)
    yield fake
    fake.close()


def play(fake: FakeTerminal, run_dir: Path, *more: str) -> None:
    options = f"--batch {BATCH} --rounds 2 --pace 0".split()
    fake.run(SCRIPT, str(run_dir), *options, *more)
    fake.pump(lambda: fake.shows("your turn") and fake.shows(" z  "))


def sent_by(fake: FakeTerminal, key: str) -> int:
    """Bytes that a key makes the app write."""
    heard = len(fake.heard.encode())
    fake.type(key)
    while fake.listen(0.4):
        continue
    return len(fake.heard.encode()) - heard


@pytest.mark.parametrize("terminal", ["kitty", "iterm", "xterm"], indirect=True)
def test_every_tile_shows_its_picture_which_marks_leave_alone_and_a_wipe_brings_back(
    terminal: FakeTerminal, tmp_path: Path
) -> None:
    play(terminal, tmp_path)
    terminal.pump(lambda: all_drawn(terminal))
    assert misplaced(terminal) == []
    assert terminal.screen.pictures_sent == BATCH
    marking_and_moving_send_few_bytes_and_no_picture(terminal)
    terminal.screen.wipe()
    assert not any(tile.any() for tile in tiles(terminal))
    terminal.type("\x1b[15~")
    terminal.pump(lambda: terminal.screen.pictures_sent == 2 * BATCH)
    terminal.pump(lambda: all_drawn(terminal))
    assert misplaced(terminal) == []
    before = len(terminal.screen.kitty_images)
    assert before == BATCH * (terminal.kind == "kitty")
    terminal.type("\x11")
    is_restored(terminal, 75, "Continue with: hero resume")


def marking_and_moving_send_few_bytes_and_no_picture(terminal: FakeTerminal) -> None:
    while terminal.listen(0.3):
        continue
    terminal.screen.paint_placeholders()  # a page painted once more has rewritten its cells
    shown = tiles(terminal)
    before = [tile.copy() for tile in shown]
    assert 0 < sent_by(terminal, "w") <= FEW
    assert terminal.shows("● good")
    sent_by(terminal, TAB)
    for key in (RIGHT, DOWN, "h", "x"):
        assert 0 < sent_by(terminal, key) <= FEW
    sent_by(terminal, TAB)
    assert terminal.screen.pictures_sent == BATCH
    terminal.screen.paint_placeholders()
    assert all((old == new).all() for old, new in zip(before, shown, strict=True))


def is_restored(terminal: FakeTerminal, code: int, says: str) -> None:
    """The process ends with this code and line; no picture and no mode is left."""
    terminal.pump(terminal.ended)
    terminal.listen(0.2)
    assert terminal.process is not None and terminal.process.returncode == code
    assert terminal.screen.kitty_images == {}
    assert "\x1b[?1049l" in terminal.heard and "\x1b[?25h" in terminal.heard
    assert termios.tcgetattr(terminal.slave) == terminal.attributes
    said = terminal.heard.rpartition("\x1b")[2]
    assert says in said and "Traceback" not in said


@pytest.mark.parametrize("terminal", ["xterm"], indirect=True)
def test_two_tiles_that_are_swapped_are_noticed(terminal: FakeTerminal, tmp_path: Path) -> None:
    play(terminal, tmp_path, "--swap", "3", "12")
    terminal.pump(lambda: all_drawn(terminal))
    assert misplaced(terminal) == [3, 12]


@pytest.mark.parametrize("terminal", ["kitty"], indirect=True)
@pytest.mark.parametrize("crash", [False, True], ids=["signal", "crash"])
def test_after_a_signal_or_a_crash_no_picture_and_no_mode_is_left(
    terminal: FakeTerminal, tmp_path: Path, crash: bool
) -> None:
    play(terminal, tmp_path, *(["--crash"] if crash else []))
    terminal.pump(lambda: terminal.screen.kitty_sent > 2)
    assert terminal.process is not None
    if crash:
        (tmp_path / play_terminal.CRASH).touch()
    else:
        terminal.process.send_signal(signal.SIGTERM)
    is_restored(terminal, *((1, "failed") if crash else (75, "hero resume")))


@pytest.mark.parametrize("kind", ["kitty", "sixel"])
def test_a_picture_stays_within_its_byte_budget(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment speaks of another terminal's size."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "60")
    measured = sent(kind)
    assert measured.pictures == BATCH
    assert measured.first_paint <= FIRST_PAINT[kind] + PAGE_AGAIN
    assert (measured.mark_pictures, measured.replace_pictures) == (0, 1)
    assert measured.mark <= FEW
    assert measured.replace <= FIRST_PAINT[kind] / BATCH
