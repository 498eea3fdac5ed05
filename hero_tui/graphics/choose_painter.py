"""From what the person asked for and what the terminal can, to a painter."""

from __future__ import annotations

from hero_engine.core.errors import HeroError
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.iterm import ItermPainter
from hero_tui.graphics.kitty import KittyPainter
from hero_tui.graphics.painter import Painter
from hero_tui.graphics.sixel import SixelPainter
from hero_tui.graphics.symbols import SymbolPainter

MODES = ("auto", "kitty", "iterm", "sixel", "symbols")


def choose_painter(mode: str, terminal: Terminal) -> Painter:
    """The painter for a mode; `auto` takes the finest that the terminal answered for.

    Raises HeroError (exit code 2) for an unknown mode.
    """
    if mode not in MODES:
        raise HeroError(f"--graphics {mode}: choose one of {', '.join(MODES)}")
    chosen = terminal.best if mode == "auto" else mode
    if chosen == "kitty":
        return KittyPainter(tmux=terminal.tmux)
    others: dict[str, type[Painter]] = {"iterm": ItermPainter, "sixel": SixelPainter}
    return others.get(chosen, SymbolPainter)()
