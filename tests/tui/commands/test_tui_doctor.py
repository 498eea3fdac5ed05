"""What `hero doctor` says of pictures, in terminals of every kind."""

from __future__ import annotations

import pytest

from hero_tui.commands.doctor import lines, pictures_of
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.tmux import Tmux

COLOURFUL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@pytest.mark.parametrize("term", ["xterm", "linux", "screen"])
def test_sixteen_colours_are_said_with_the_cure(term: str) -> None:
    found = pictures_of(Terminal(answered=True), None, {"TERM": term})
    assert (found["colours"], found["pictures"]) == ("16", "symbols")
    assert "export TERM=xterm-256color" in found["hint"]


def test_pictures_in_graphics_need_no_more_colours() -> None:
    found = pictures_of(Terminal(sixel=True, answered=True), None, {"TERM": "xterm"})
    assert (found["colours"], "hint" in found) == ("16", False)


def test_a_terminal_known_for_true_colour_needs_no_environment() -> None:
    found = pictures_of(Terminal(name="foot(1.16)", answered=True), None, {"TERM": "xterm"})
    assert (found["colours"], "hint" in found) == ("16.7 million", False)


def test_the_largest_sixel_is_said() -> None:
    found = pictures_of(Terminal(sixel=True, sixel_limit=(1000, 900)), None, COLOURFUL)
    assert found["largest picture"] == "1000 x 900 pixels"
    assert "none within 3 s" in found["answers"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.3a", "no sixel pictures"),
        ("3.5a", "shows sixel pictures"),
        ("3.7", "keeps only 20 sixel pictures"),
        ("next-3.8", "keeps only 20 sixel pictures"),
        ("", "of an unknown version"),
    ],
)
def test_doctor_says_what_this_tmux_can_do(version: str, said: str) -> None:
    tmux = Tmux(passthrough=False, outer="xterm", version=version)
    found = pictures_of(Terminal(tmux=True, answered=True), tmux, COLOURFUL)
    assert said in found["tmux"] and "allow-passthrough is off" in found["tmux"]
    assert any(said in line for line in lines("terminal", found))
