"""The colours: quiet around the pictures, so that the pictures are what one sees."""

from __future__ import annotations

from textual.theme import Theme

HERO = Theme(
    name="hero",
    dark=True,
    primary="#7aa2d6",
    secondary="#9aa5b8",
    accent="#8ab4e8",
    foreground="#d5d9e0",
    background="#13161a",
    surface="#1c2026",
    panel="#262b33",
    success="#7cc08a",
    warning="#e8b95a",
    error="#d9706a",
    variables={"quiet": "#8b93a0", "faint": "#565d68"},
)
