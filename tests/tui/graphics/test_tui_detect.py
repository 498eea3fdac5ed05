"""Detection against terminals that answer as kitty, xterm, WezTerm, a plain one, and not at all."""

from __future__ import annotations

import os
import select
import stat
import termios
import threading
import time
from pathlib import Path

import pytest
from fake_terminal import ANSWERS, FakeTerminal

from hero_engine.core.errors import HeroError
from hero_tui.graphics.choose_painter import choose_painter
from hero_tui.graphics.detect_terminal import Terminal, ask


def asked(
    kind: str, typed: str = "", environ: dict[str, str] | None = None, deadline: float = 5.0
) -> tuple[Terminal, FakeTerminal]:
    """Ask a fake terminal of this kind, on which somebody types before it answers."""
    terminal = FakeTerminal(kind)
    answer: list[Terminal] = []
    thread = threading.Thread(
        target=lambda: answer.append(ask(terminal.slave, environ or {}, deadline=deadline))
    )
    thread.start()
    select.select([terminal.master], [], [], 5)
    terminal.type(typed)
    while thread.is_alive():
        terminal.listen(0.01)
    thread.join()
    terminal.close()
    return answer[0], terminal


@pytest.mark.parametrize(
    ("kind", "best", "cell"),
    [
        ("kitty", "kitty", (8, 16)),
        ("xterm", "sixel", (8, 16)),
        ("wezterm", "iterm", (11, 22)),
        ("old kitty", "symbols", (8, 16)),
        ("plain", "symbols", (8, 16)),
    ],
)
def test_each_terminal_gets_the_best_it_can_show(
    kind: str, best: str, cell: tuple[int, int]
) -> None:
    terminal, _ = asked(kind)
    assert (terminal.best, terminal.cell) == (best, cell)
    assert terminal.true_colour == (kind != "plain")
    assert terminal.typed == b""


@pytest.mark.parametrize("kind", ["kitty", "xterm", "plain"])
def test_keys_typed_among_the_answers_are_handed_on(kind: str) -> None:
    terminal, _ = asked(kind, typed="wé\x1b[C")
    assert terminal.typed == "wé\x1b[C".encode()
    assert terminal.best == {"kitty": "kitty", "xterm": "sixel", "plain": "symbols"}[kind]


def test_a_mute_terminal_costs_one_deadline_and_its_mode_is_restored() -> None:
    fake = FakeTerminal("mute")
    before = termios.tcgetattr(fake.slave)
    started = time.monotonic()
    terminal = ask(fake.slave, {}, deadline=0.2)
    assert 0.2 <= time.monotonic() - started < 1.0
    assert terminal.best == "symbols"
    assert termios.tcgetattr(fake.slave) == before
    fake.close()


def test_a_terminal_without_cell_size_is_measured_by_its_window() -> None:
    assert "\x1b[16t" not in ANSWERS["plain"]
    terminal, _ = asked("plain")
    assert terminal.cell == (8, 16)


def pretend_tmux(folder: Path, said: str) -> dict[str, str]:
    """An environment inside a tmux that answers display-message like this."""
    script = folder / "tmux"
    script.write_text(f"#!/bin/sh\necho '{said}'\n")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return {"TMUX": "/tmp/x,1,0", "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("said", "best", "hinted"),
    [
        ("on|kitty(0.35.2)", "kitty", False),
        ("all|ghostty 1.1", "kitty", False),
        ("off|kitty(0.35.2)", "symbols", True),
        ("on|XTerm(390)", "symbols", False),
    ],
)
def test_tmux_shows_kitty_pictures_only_when_it_lets_them_through(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    best: str,
    hinted: bool,
) -> None:
    environ = pretend_tmux(tmp_path, said)
    monkeypatch.setenv("PATH", environ["PATH"])
    terminal, fake = asked("plain", environ=environ)
    assert (terminal.best, terminal.tmux, bool(terminal.hint)) == (best, True, hinted)
    assert ("\x1bPtmux;\x1b\x1b_G" in fake.heard) == (not said.startswith("off"))


def test_an_unknown_graphics_mode_is_refused_with_the_choices() -> None:
    with pytest.raises(HeroError, match="auto, kitty, iterm, sixel, symbols"):
        choose_painter("ascii", Terminal())
