"""Choose a painter by the person's setting and the terminal's abilities."""

from __future__ import annotations

from hero_engine.core.errors import HeroError
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.iterm import ItermPainter
from hero_tui.graphics.kitty import KittyPainter
from hero_tui.graphics.painter import Painter
from hero_tui.graphics.sixel import SixelPainter
from hero_tui.graphics.symbols import SymbolPainter

MODES = ("auto", "kitty", "iterm", "sixel", "symbols")


def require_mode(mode: str) -> None:
    """Raise HeroError (exit code 2) for an unknown mode."""
    if mode not in MODES:
        raise HeroError(f"--graphics {mode}: choose one of {', '.join(MODES)}")


def choose_painter(mode: str, terminal: Terminal) -> Painter:
    """The painter for a mode; `auto` takes the finest that the terminal answered for.

    Raises HeroError (exit code 2) for an unknown mode.
    """
    require_mode(mode)
    match terminal.best if mode == "auto" else mode:
        case "kitty":
            return KittyPainter(tmux=terminal.tmux)
        case "iterm":
            return ItermPainter()
        case "sixel":
            return SixelPainter(terminal.sixel_limit)
        case _:
            return SymbolPainter()


def draws_alike(one: Painter, other: Painter) -> bool:
    """Whether pictures of one are as good on this terminal as those of the other."""
    limits = (getattr(painter, "limit", None) for painter in (one, other))
    return one.name == other.name and len(set(limits)) == 1
