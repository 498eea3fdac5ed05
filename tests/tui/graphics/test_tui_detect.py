"""Detection against terminals that answer as kitty, xterm, WezTerm, a plain one, and not at all."""

from __future__ import annotations

import os
import re
import select
import stat
import termios
import threading
import time
from pathlib import Path

import pytest
from fake_terminal import ANSWERS, FakeTerminal
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hero_engine.core.errors import HeroError
from hero_tui.graphics.choose_painter import choose_painter
from hero_tui.graphics.detect_terminal import Terminal, TerminalAnswers, colours, questions
from hero_tui.terminal.ask_terminal import Asked, ask


def asked(
    kind: str, typed: str = "", environ: dict[str, str] | None = None, deadline: float = 5.0
) -> tuple[Asked, FakeTerminal]:
    """Ask a fake terminal of this kind, on which somebody types before it answers."""
    terminal = FakeTerminal(kind)
    answer: list[Asked] = []
    slave, env = terminal.slave, {"TERM": "xterm-256color"} | (environ or {})
    thread = threading.Thread(
        target=lambda: answer.append(ask(slave, slave, env, deadline=deadline))
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
    found, _ = asked(kind)
    terminal = found.answers.terminal
    assert (terminal.best, terminal.cell) == (best, cell)
    assert terminal.true_colour == (kind != "plain")
    assert found.typed == b"" and not found.filter.waiting


@pytest.mark.parametrize("kind", ["kitty", "xterm", "plain"])
def test_keys_typed_among_the_answers_are_handed_on(kind: str) -> None:
    found, _ = asked(kind, typed="wé\x1b[C")
    assert found.typed == "wé\x1b[C".encode()
    assert (
        found.answers.terminal.best
        == {"kitty": "kitty", "xterm": "sixel", "plain": "symbols"}[kind]
    )


def test_a_mute_terminal_costs_one_deadline_and_its_mode_is_restored() -> None:
    fake = FakeTerminal("mute")
    before = termios.tcgetattr(fake.slave)
    started = time.monotonic()
    found = ask(fake.slave, fake.slave, {"TERM": "xterm"}, deadline=0.2)
    assert 0.2 <= time.monotonic() - started < 1.0
    assert found.answers.terminal.best == "symbols" and not found.answers.complete
    assert termios.tcgetattr(fake.slave) == before
    fake.close()


def test_a_terminal_without_cell_size_is_measured_by_its_window() -> None:
    assert "\x1b[16t" not in ANSWERS["plain"]
    found, _ = asked("plain")
    assert found.answers.terminal.cell == (8, 16)


def pretend_tmux(folder: Path, said: str) -> dict[str, str]:
    """An environment inside a tmux that answers display-message like this."""
    script = folder / "tmux"
    script.write_text(f"#!/bin/sh\necho '{said}'\n")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return {"TMUX": "/tmp/x,1,0", "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("kind", "said", "best", "hinted"),
    [
        ("plain", "on|kitty(0.35.2)|3.3a", "kitty", False),
        ("plain", "all|ghostty 1.1|3.5a", "kitty", False),
        ("plain", "off|kitty(0.35.2)|3.5a", "symbols", True),
        ("plain", "on|XTerm(390)|3.5a", "symbols", False),
        ("tmux", "on|XTerm(390)|3.5a", "sixel", False),
        ("tmux", "on|XTerm(390)|3.6", "sixel", False),
        ("tmux", "on|XTerm(390)|3.7", "symbols", True),
        ("tmux", "on|XTerm(390)|next-3.8", "symbols", True),
    ],
)
def test_what_tmux_shows_depends_on_its_terminal_its_option_and_its_version(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    said: str,
    best: str,
    hinted: bool,
) -> None:
    environ = pretend_tmux(tmp_path, said)
    monkeypatch.setenv("PATH", environ["PATH"])
    found, _ = asked(kind, environ=environ)
    terminal = found.answers.terminal
    assert (terminal.best, terminal.tmux, bool(terminal.hint)) == (best, True, hinted)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_no_question_is_one_that_terminals_print(kind: str) -> None:
    """A terminal that does not know a string (APC, DCS) prints it, or makes it a title."""
    _, fake = asked(kind, deadline=0.2)
    assert fake.heard.startswith("\x1b[")
    assert not re.search("\x1b[^[]", fake.heard)


@pytest.mark.parametrize("term", ["linux", "rxvt-unicode-256color", "putty-256color", "vt100"])
def test_a_terminal_whose_name_says_enough_is_asked_for_its_attributes_only(term: str) -> None:
    _, fake = asked("plain", environ={"TERM": term})
    assert fake.heard == "\x1b[c"


def test_a_dumb_terminal_is_asked_nothing() -> None:
    assert questions({"TERM": "dumb"}) == questions({}) == ""


REPLIES_OF_XTERM = [*ANSWERS["xterm"].values()]


@given(st.permutations(REPLIES_OF_XTERM), st.integers(0, len(REPLIES_OF_XTERM)))
def test_answers_may_come_in_any_order_and_late(replies: list[str], early: int) -> None:
    answers = TerminalAnswers()
    for reply in replies[:early]:
        answers.take(reply.encode())
    assert answers.terminal.best in ("symbols", "sixel")
    for reply in replies[early:]:
        answers.take(reply.encode())
    assert answers.terminal.best == "sixel" and answers.complete
    assert answers.terminal.sixel_limit == (1000, 1000)


def test_xterm_may_say_that_its_limit_is_another() -> None:
    answers = TerminalAnswers()
    for reply in (b"\x1bP>|XTerm(390)\x1b\\", b"\x1b[?2;0;4000;3000S"):
        answers.take(reply)
    assert answers.terminal.sixel_limit == (4000, 3000)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm"}, 16),
        ({"TERM": "linux"}, 16),
        ({"TERM": "screen"}, 16),
        ({"TERM": "xterm-256color"}, 256),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, 2**24),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 1),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, 1),
        ({}, 16),
    ],
)
def test_the_number_of_colours_is_the_one_that_rich_uses(
    environ: dict[str, str], expected: int
) -> None:
    assert colours(environ) == expected
    system = Console(force_terminal=True, _environ=environ).color_system
    if "NO_COLOR" not in environ:
        assert system == {1: None, 16: "standard", 256: "256", 2**24: "truecolor"}[expected]


def test_an_unknown_graphics_mode_is_refused_with_the_choices() -> None:
    with pytest.raises(HeroError, match="auto, kitty, iterm, sixel, symbols"):
        choose_painter("ascii", Terminal())
