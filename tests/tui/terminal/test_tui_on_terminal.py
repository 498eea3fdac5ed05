"""The whole app on a pty: rounds, a quit and a resume, signals, and what stays off the screen."""

from __future__ import annotations

import os
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import play_terminal
import pytest
from fake_engine import colour, open_journal
from fake_terminal import FakeTerminal

from hero_engine.core.errors import HeroError
from hero_tui.launch import require_terminal

SCRIPT = Path(play_terminal.__file__)
BATCH = 16


@pytest.fixture
def terminal() -> Iterator[FakeTerminal]:
    fake = FakeTerminal("plain", 80, 24)
    yield fake
    fake.close()


def play(fake: FakeTerminal, run_dir: Path, *options: str, pace: str = "0") -> None:
    fake.run(SCRIPT, str(run_dir), "--batch", str(BATCH), "--rounds", "3", "--pace", pace, *options)


def press(fake: FakeTerminal, *keys: str) -> None:
    """Keys as a person types them: one after another, not in one burst."""
    for key in keys:
        fake.type(key)
        fake.listen(0.08)


def label_round(fake: FakeTerminal) -> None:
    fake.pump(lambda: fake.shows("your turn") and fake.shows("page 1/2"))
    press(fake, "w", "S", "\r")
    fake.pump(lambda: fake.shows("page 2/2"))
    press(fake, "f", "\r")


def shown_colour(fake: FakeTerminal, x: int, y: int) -> tuple[int, ...]:
    """The background of a cell, as pyte knows it."""
    return tuple(bytes.fromhex(fake.screen.buffer[y][x].bg))


def test_two_rounds_a_quit_in_the_third_and_a_resume(tmp_path: Path) -> None:
    first = FakeTerminal("plain", 80, 24)
    play(first, tmp_path)
    for number in (1, 2):
        first.pump(lambda number=number: first.shows(f"round {number} "))
        label_round(first)
    first.pump(lambda: first.shows("round 3 ") and first.shows("your turn"))
    assert first.shows("good ▂▂ 19%")
    press(first, "e", "\x03")
    first.pump(first.ended)
    first.listen(0.1)
    assert first.process is not None and first.process.returncode == 75
    assert (
        f"stopped in round 3 (labelling; 1 mark is saved). Continue with: hero resume {tmp_path}"
        in first.heard
    )
    first.close()

    second = FakeTerminal("plain", 80, 24)
    play(second, tmp_path)
    second.pump(lambda: second.shows("round 3 ") and second.shows("e  ● good"))
    assert second.shows("good ▂▂ 19%")
    press(second, "\x1a")
    second.pump(lambda: not second.shows("● good"))
    press(second, "\x11")
    second.pump(second.ended)
    second.close()
    with open_journal(tmp_path) as book:
        assert [sum(bool(good) for good in book.labels(r, BATCH).good) for r in range(3)] == [
            3,
            3,
            0,
        ]


def near(shown: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether two colours are the same but for rounding."""
    return all(abs(one - other) < 12 for one, other in zip(shown, wanted, strict=True))


def test_symbol_art_shows_each_picture_in_its_own_place(
    terminal: FakeTerminal, tmp_path: Path
) -> None:
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn"))
    captions = next(y for y, line in enumerate(terminal.screen.display) if " q " in line)
    corners = [terminal.screen.display[captions].index(f" {key} ") for key in "qwer"]
    places = {place: left + (0 if place == 3 else 15) for place, left in enumerate(corners)}
    terminal.pump(
        lambda: all(
            near(shown_colour(terminal, x, captions - 1), colour(place))
            for place, x in places.items()
        )
    )


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGHUP, 75), (signal.SIGUSR1, 75)],
)
def test_a_signal_leaves_within_two_seconds_resumable(
    terminal: FakeTerminal, tmp_path: Path, number: int, code: int
) -> None:
    before = termios.tcgetattr(terminal.slave)
    play(terminal, tmp_path, pace="0.2")
    terminal.pump(lambda: terminal.shows("drawing pictures") or terminal.shows("your turn"))
    assert terminal.process is not None
    os.kill(terminal.process.pid, number)
    started = time.monotonic()
    terminal.pump(terminal.ended, seconds=2.5)
    assert time.monotonic() - started < 2.0
    assert terminal.process.returncode == code
    if number != signal.SIGHUP:
        terminal.listen(0.1)
        assert "\x1b[?1049l" in terminal.heard
        assert termios.tcgetattr(terminal.slave) == before


def test_a_closed_terminal_ends_the_app(tmp_path: Path) -> None:
    fake = FakeTerminal("plain", 80, 24)
    play(fake, tmp_path)
    fake.pump(lambda: fake.shows("your turn"))
    press(fake, "w")
    os.close(fake.slave)
    os.close(fake.master)
    assert fake.process is not None
    assert fake.process.wait(timeout=3) == 75
    with open_journal(tmp_path) as book:
        assert book.labels(0, BATCH).good[1] is True


def test_library_output_goes_to_the_log(terminal: FakeTerminal, tmp_path: Path) -> None:
    play(terminal, tmp_path, "--noisy")
    terminal.pump(lambda: terminal.shows("your turn"))
    press(terminal, "\x11")
    terminal.pump(terminal.ended)
    assert "libnoise" not in terminal.heard
    log = (tmp_path / "hero.log").read_text()
    assert "libnoise: from C" in log
    assert "libnoise: from Python" in log


def test_keys_typed_before_the_app_is_up_are_not_lost(
    terminal: FakeTerminal, tmp_path: Path
) -> None:
    play(terminal, tmp_path)
    terminal.pump(lambda: "\x1b[c" in terminal.heard)
    terminal.type("?")
    terminal.pump(lambda: terminal.shows("On the page, by letters"))


def test_without_a_terminal_it_is_refused_in_one_line(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with pytest.raises(HeroError, match="--headless") as refused:
        require_terminal(reading, writing)
    assert refused.value.exit_code == 2
    os.close(reading)
    os.close(writing)
