"""Asks the terminal what it can show, before the app starts: one batch, one deadline.

The last question, DA1, is one that every terminal answers, so its answer ends the wait. Keys that
a person typed meanwhile are returned; an answer that comes later still is no key, since the same
`InputFilter` reads on in the app.
"""

from __future__ import annotations

import os
import select
import termios
import time
import tty
from collections.abc import Mapping

from hero_tui.graphics.detect_terminal import TerminalAnswers, questions, window_cell
from hero_tui.graphics.tmux import ask_tmux
from hero_tui.terminal.input_filter import InputFilter

DEADLINE = 1.0
"""Seconds the app waits. Answers that come later are still taken in."""

COMMAND_DEADLINE = 3.0
"""Seconds a command waits that ends afterwards: a later answer would be typed into the shell."""


class Asked:
    """A terminal that was asked: its answers so far, the filter in use, and what was typed."""

    def __init__(self, answers: TerminalAnswers) -> None:
        self.answers = answers
        self.filter = InputFilter(answers.take)
        self.typed = b""


def ask(
    output: int, input: int, environ: Mapping[str, str], *, deadline: float = DEADLINE
) -> Asked:
    """Ask the terminal on these descriptors, in raw mode; the mode is restored in every case."""
    asked = Asked(TerminalAnswers(ask_tmux(environ), window_cell(output)))
    question = questions(environ).encode("ascii")
    if not question:
        return asked
    before = termios.tcgetattr(input)
    try:
        tty.setraw(input, termios.TCSANOW)
        os.write(output, question)
        _listen(input, asked, time.monotonic() + deadline)
    finally:
        termios.tcsetattr(input, termios.TCSANOW, before)
    return asked


def _listen(fd: int, asked: Asked, until: float) -> None:
    """Read until DA1 is answered and no sequence is incomplete, or the time is over."""
    while (left := until - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            return
        data = os.read(fd, 4096)
        if not data:
            return
        asked.typed += asked.filter.feed(data, time.monotonic())
        if asked.answers.complete and not asked.filter.waiting:
            return
