"""A picture as text on stdout: for `hero show` and the plots of `hero bench learn`."""

from __future__ import annotations

import numpy as np
from PIL import Image
from rich.color import ColorSystem
from rich.segment import Segment

from hero_tui.graphics.choose_painter import choose_painter
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.painter import DEFAULT_CELL, Box

SHADES = " .:-=+*#%@"
"""From dark to bright, for a file or a terminal without colours."""


def picture_text(picture: Image.Image, columns: int, terminal: Terminal | None) -> str:
    """Lines of text, or the terminal's graphics, `columns` cells wide.

    terminal: None for a file, a pipe or a terminal without colours: letters, no escape sequences.
    """
    cell = terminal.cell if terminal else DEFAULT_CELL
    rows = max(1, round(columns * cell[0] * picture.height / (cell[1] * picture.width)))
    if terminal is None:
        return shaded(picture, columns, rows)
    drawing = choose_painter("auto", terminal).paint(picture, Box(columns, rows, cell))
    colours = ColorSystem.TRUECOLOR if terminal.true_colour else ColorSystem.EIGHT_BIT
    lines = ["".join(_text(segment, colours) for segment in line) for line in drawing.lines]
    return drawing.upload + "\n".join(line + "\x1b[0m" for line in lines)


def shaded(picture: Image.Image, columns: int, rows: int) -> str:
    """The picture's brightness as letters."""
    grey = picture.convert("L").resize((columns, rows), Image.Resampling.LANCZOS)
    shades = np.asarray(grey, np.int32) * len(SHADES) // 256
    return "\n".join("".join(SHADES[value] for value in row).rstrip() for row in shades)


def _text(segment: Segment, colours: ColorSystem) -> str:
    if segment.style is None or segment.control:
        return segment.text
    return segment.style.render(segment.text, color_system=colours)
