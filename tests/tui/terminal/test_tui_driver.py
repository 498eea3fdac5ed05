"""The app on terminals that answer late, stop reading, are stopped, change their font or vanish."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import play_terminal
import pytest
from fake_terminal import ANSWERS, FakeTerminal
from tile_pixels import all_drawn, misplaced

SCRIPT = Path(play_terminal.__file__)
BATCH, COLUMNS, ROWS = 32, 150, 48

MODES = {
    "alternate screen": ("\x1b[?1049h", "\x1b[?1049l"),
    "mouse": ("\x1b[?1003h", "\x1b[?1003l"),
    "kitty's keys": ("\x1b[>25u", "\x1b[<u"),
    "cursor": ("\x1b[?25l", "\x1b[?25h"),
    "paste": ("\x1b[?2004h", "\x1b[?2004l"),
    "focus": ("\x1b[?1004h", "\x1b[?1004l"),
}
"""What turns each mode on, or the cursor off, and what undoes that."""


class LateTerminal(FakeTerminal):
    """Answers after `delay` seconds, in pieces of `size` characters, `gap` seconds apart."""

    delay, size, gap = 0.0, 1000, 0.0

    def __init__(self, kind: str) -> None:
        super().__init__(kind, COLUMNS, ROWS, errors="replace")
        self.cell = "\x1b[6;16;8t"
        self._due: list[tuple[float, str]] = []

    def pump(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        """Longer than others wait: these terminals are slow, and the machine may be busy."""
        super().pump(until, seconds)

    def answer(self, text: str) -> None:
        text = self.cell if text.startswith("\x1b[6;") else text
        at = max([time.monotonic() + self.delay, *(due + self.gap for due, _ in self._due)])
        for start in range(0, len(text), self.size):
            self._due.append((at, text[start : start + self.size]))
            at += self.gap

    def listen(self, seconds: float) -> bool:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self.type(self._due.pop(0)[1])
        return super().listen(min(seconds, 0.02)) or bool(self._due)


@pytest.fixture
def make() -> Iterator[Callable[[str], LateTerminal]]:
    made: list[LateTerminal] = []

    def terminal(kind: str) -> LateTerminal:
        made.append(LateTerminal(kind))
        return made[-1]

    yield terminal
    for each in made:
        each.close()


def play(fake: FakeTerminal, run_dir: Path) -> None:
    fake.run(SCRIPT, str(run_dir), *f"--batch {BATCH} --rounds 2 --pace 0".split())


def rest(fake: FakeTerminal, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        fake.listen(0.02)


def marks(fake: FakeTerminal) -> int:
    return sum(line.count(word) for line in fake.screen.display for word in ("● good", "★ best"))


@pytest.mark.parametrize("kind", ["kitty", "xterm"])
def test_answers_after_the_deadline_become_pictures_and_no_labels(
    make: Callable[[str], LateTerminal], tmp_path: Path, kind: str
) -> None:
    terminal = make(kind)
    terminal.delay = 1.4
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn") and all_drawn(terminal))
    assert terminal.shows("0 good, 0/32 labelled") and misplaced(terminal) == []


@pytest.mark.parametrize("kind", ["kitty", "tmux"])
def test_answers_in_pieces_become_no_labels(
    make: Callable[[str], LateTerminal], tmp_path: Path, kind: str
) -> None:
    terminal = make(kind)
    terminal.size, terminal.gap, terminal.delay = 3, 0.12, 0.4
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn"))
    rest(terminal, 1)
    assert terminal.shows("0 good, 0/32 labelled") and marks(terminal) == 0
    terminal.size, terminal.gap = 1000, 0.0
    terminal.pump(lambda: not terminal._due)  # no terminal puts a key into its own answer
    terminal.type("q")
    terminal.pump(lambda: marks(terminal) == 1)


def test_a_changed_font_makes_pictures_of_the_new_size(
    make: Callable[[str], LateTerminal], tmp_path: Path
) -> None:
    """The window keeps its columns and rows; only the answer about the cell changes."""
    terminal = make("xterm")
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn") and all_drawn(terminal))
    sizes = re.compile(r'"1;1;(\d+);(\d+)')
    before = len(terminal.heard)
    first = int(sizes.findall(terminal.heard)[-1][1])

    def larger() -> int:
        heights = (int(height) for _, height in sizes.findall(terminal.heard[before:]))
        return sum(height > 1.8 * first for height in heights)

    terminal.cell = "\x1b[6;32;16t"
    terminal.screen.take_sixel = lambda data: None  # type: ignore[method-assign]
    terminal.type("\x1b[15~")
    terminal.pump(lambda: larger() >= BATCH)


def resize(fake: FakeTerminal, columns: int, rows: int, cell: tuple[int, int]) -> None:
    size = struct.pack("HHHH", rows, columns, columns * cell[0], rows * cell[1])
    fcntl.ioctl(fake.slave, termios.TIOCSWINSZ, size)
    assert fake.process is not None
    os.kill(fake.process.pid, signal.SIGWINCH)


def test_every_resize_asks_for_the_cell(
    make: Callable[[str], LateTerminal], tmp_path: Path
) -> None:
    terminal = make("xterm")
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn"))
    before = terminal.heard.count("\x1b[16t")
    resize(terminal, COLUMNS, ROWS, (16, 32))
    terminal.pump(lambda: terminal.heard.count("\x1b[16t") > before)


def all_modes_off(fake: FakeTerminal, attributes: list[object]) -> list[str]:
    """What is still on at the end; nothing, where the terminal is as it was."""
    left = [
        name for name, (on, off) in MODES.items() if fake.heard.rfind(on) > fake.heard.rfind(off)
    ]
    return left + (["echo"] if termios.tcgetattr(fake.slave) != attributes else [])


def test_a_terminal_that_does_not_read_is_restored_before_the_process_ends(
    make: Callable[[str], LateTerminal], tmp_path: Path
) -> None:
    terminal = make("kitty")
    attributes = termios.tcgetattr(terminal.slave)
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn") and terminal.screen.pictures_sent > 2)
    terminal.type("\x1b[15~" * 12)
    time.sleep(2)  # the line is full
    assert terminal.process is not None
    started = time.monotonic()
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(10) == 75
    assert time.monotonic() - started < 3.5
    rest(terminal, 0.5)
    assert all_modes_off(terminal, attributes) == []
    assert f"hero resume {tmp_path}" in terminal.heard.rpartition("\x1b[?1049l")[2]


def test_no_answer_is_typed_into_the_shell_afterwards(
    make: Callable[[str], LateTerminal], tmp_path: Path
) -> None:
    terminal = make("kitty")
    terminal.delay = 0.25
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn") and all_drawn(terminal))
    terminal.type("\x1b[15~\x11")
    terminal.pump(terminal.ended)
    rest(terminal, 1)
    after = terminal.heard.rpartition("\x1b[?1049l")[2]
    assert f"hero resume {tmp_path}" in after and "^[" not in after


def test_nothing_of_the_page_is_left_where_there_is_no_alternate_screen(
    make: Callable[[str], LateTerminal], tmp_path: Path
) -> None:
    """As in mosh and screen; pyte has no alternate screen either."""
    terminal = make("plain")
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn"))
    terminal.type("\x11")
    terminal.pump(terminal.ended)
    rest(terminal, 0.2)
    text = [line.strip() for line in terminal.screen.display if line.strip()]
    assert (
        "".join(text) == f"hero: stopped in round 1 (labelling). "
        f"Continue with: hero resume {tmp_path}"
    )


@pytest.mark.parametrize(("kind", "stop"), [("kitty", signal.SIGTSTP), ("xterm", signal.SIGSTOP)])
def test_a_process_that_was_stopped_shows_its_pictures_again(
    make: Callable[[str], LateTerminal], tmp_path: Path, kind: str, stop: signal.Signals
) -> None:
    terminal = make(kind)
    attributes = termios.tcgetattr(terminal.slave)
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.shows("your turn") and all_drawn(terminal))
    assert terminal.process is not None
    terminal.process.send_signal(stop)
    rest(terminal, 1)
    if stop == signal.SIGTSTP:
        assert all_modes_off(terminal, attributes) == []
        assert terminal.screen.kitty_images == {}
    terminal.screen.wipe()
    terminal.process.send_signal(signal.SIGCONT)
    terminal.pump(lambda: terminal.shows("your turn") and all_drawn(terminal))
    assert misplaced(terminal) == []
    terminal.type("w")
    terminal.pump(lambda: marks(terminal) == 1)
    terminal.type("\x11")
    terminal.pump(terminal.ended)
    rest(terminal, 0.2)
    assert all_modes_off(terminal, attributes) == []


def test_a_terminal_that_vanishes_during_an_upload_ends_the_app(
    make: Callable[[str], LateTerminal], tmp_path: Path
) -> None:
    """It is not the controlling terminal, so no signal tells of it."""
    terminal = make("xterm")
    play(terminal, tmp_path)
    terminal.pump(lambda: terminal.screen.pictures_sent > 0)
    terminal.type("\x1b[15~" * 3)
    select.select([terminal.master], [], [], 5)
    os.close(terminal.slave)
    os.close(terminal.master)
    assert terminal.process is not None
    assert terminal.process.wait(5) == 75


def test_the_answers_of_these_terminals_are_the_real_ones() -> None:
    assert {"kitty", "xterm", "wezterm", "tmux", "plain"} <= set(ANSWERS)
