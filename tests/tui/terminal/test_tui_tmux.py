"""The app in a real tmux, looked at by terminals that come and go."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import play_terminal
import pytest
from fake_terminal import FakeTerminal
from tile_pixels import BATCH, COLUMNS, ROWS, all_drawn, misplaced

from hero_tui.widgets.upload_queue import PATIENCE

SCRIPT = Path(play_terminal.__file__)
CONFIG = "set -g allow-passthrough on\nset -g status off\nset -g default-terminal tmux-256color\n"

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="not installed: tmux (.ci/run installs it as root)"
)


class Session:
    """A tmux server of its own."""

    def __init__(self, folder: Path) -> None:
        config = folder / "tmux.conf"
        config.write_text(CONFIG)
        self._words = ["tmux", "-u", "-S", str(folder / "socket"), "-f", str(config)]
        self._terminals: list[FakeTerminal] = []

    def look(self, kind: str, *command: str) -> FakeTerminal:
        """A terminal that runs this tmux command.

        To one that reads too slowly tmux drops output, also amid a character, and draws all again.
        """
        terminal = FakeTerminal(kind, COLUMNS, ROWS, errors="replace")
        terminal.start(*self._words, *command)
        self._terminals.append(terminal)
        return terminal

    def tell(self, *command: str) -> None:
        subprocess.run([*self._words, *command], check=True)

    def ask(self, *command: str) -> str:
        told = subprocess.run([*self._words, *command], check=True, capture_output=True, text=True)
        return told.stdout

    def close(self) -> None:
        subprocess.run([*self._words, "kill-server"], check=False, stderr=subprocess.DEVNULL)
        for terminal in self._terminals:
            terminal.close()


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.close()


def test_a_terminal_that_is_attached_later_shows_the_pictures_too(
    tmux: Session, tmp_path: Path
) -> None:
    options = f"--batch {BATCH} --rounds 2 --pace 0".split()
    app = shlex.join([sys.executable, str(SCRIPT), str(tmp_path / "run"), *options])
    first = tmux.look("kitty", "new-session", app)
    first.pump(lambda: first.shows("your turn") and first.shows(" z  ") and drawn(first))
    assert misplaced(first) == []
    tmux.tell("detach-client")
    first.pump(first.ended)

    second = tmux.look("kitty", "attach")
    second.pump(lambda: second.shows("your turn"))
    second.pump(lambda: drawn(second))
    assert misplaced(second) == []
    tmux.tell("detach-client")

    other = tmux.look("xterm", "attach")
    other.pump(lambda: other.shows("This terminal cannot show the pictures"))
    assert other.screen.pictures_sent == 0


def test_pictures_made_while_another_window_is_seen_are_there_on_coming_back(
    tmux: Session, tmp_path: Path
) -> None:
    """tmux hands on nothing of a window that is not seen."""
    options = f"--batch {BATCH} --rounds 2 --pace 0".split()
    app = shlex.join([sys.executable, str(SCRIPT), str(tmp_path / "run"), *options])
    terminal = tmux.look("kitty", "new-session", "cat")
    terminal.pump(lambda: tmux.ask("list-clients") != "")
    tmux.tell("new-window", "-d", "-n", "hero", app)
    terminal.pump(lambda: " z  " in tmux.ask("capture-pane", "-p", "-t", "hero"))
    sent_by_now = time.monotonic() + PATIENCE + 1
    terminal.pump(lambda: time.monotonic() > sent_by_now)
    assert terminal.screen.kitty_sent == 0
    tmux.tell("select-window", "-t", "hero")
    terminal.pump(lambda: drawn(terminal))
    assert misplaced(terminal) == []


def drawn(terminal: FakeTerminal) -> bool:
    return terminal.screen.kitty_sent >= BATCH and all_drawn(terminal)
