"""What a painter makes: lines of cells, and the bytes that must reach the terminal before them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image
from rich.color import Color
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.strip import Strip

DEFAULT_CELL = (8, 16)


@dataclass(frozen=True)
class Box:
    """Room for one picture: a size in cells, and the pixels of one cell (width, height)."""

    columns: int
    rows: int
    cell: tuple[int, int] = DEFAULT_CELL

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the whole box in pixels."""
        return self.columns * self.cell[0], self.rows * self.cell[1]

    def fit(self, size: tuple[float, float]) -> tuple[int, int]:
        """The largest (width, height) in pixels with the proportions of `size` inside the box."""
        width, height = self.pixels
        scale = min(width / size[0], height / size[1])
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@dataclass(frozen=True)
class Drawing:
    """One picture, encoded for one box.

    `lines[y]` is a list of segments exactly `box.columns` cells wide; they may carry escape
    sequences that no style filter may touch. `upload` goes to the terminal once, before the
    lines; `forget` frees what it left there. `size` is what sending it costs, in bytes.
    """

    box: Box
    lines: tuple[tuple[Segment, ...], ...]
    upload: str = ""
    forget: str = ""
    _strips: dict[Color, list[Strip]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes that showing this drawing for the first time sends, roughly."""
        return len(self.upload) + sum(len(text) for line in self.lines for text, _, _ in line)

    def strips(self, background: Color) -> list[Strip]:
        """The lines on the given background, for Textual's compositor."""
        if background not in self._strips:
            self._strips[background] = [self._strip(line, background) for line in self.lines]
        return self._strips[background]

    def _strip(self, line: tuple[Segment, ...], background: Color) -> Strip:
        ground = Style(bgcolor=background)
        segments = [
            segment if segment.control else Segment(segment.text, ground + (segment.style or NONE))
            for segment in line
            if segment.text
        ]
        return Strip(segments, self.box.columns)


NONE = Style.null()


class Painter(Protocol):
    """Encodes pictures for one kind of terminal; called from a worker thread."""

    name: str

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode an RGB picture so that it fits the box."""
        ...


def no_larger(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture reduced to this size; one that is smaller already stays as it is."""
    if size[0] >= picture.width:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)


def blank(columns: int) -> Segment:
    """Empty cells that take their background from the widget."""
    return Segment(" " * columns)


def over_cells(data: str, box: Box, left: int) -> Segment:
    """What draws a picture over the box's cells, for the end of their last row.

    Save the cursor (at the end of that row), go to the picture's corner `left` cells into the box,
    draw, and return.
    """
    up = f"\x1b[{box.rows - 1}A" if box.rows > 1 else ""
    back = box.columns - left
    return Segment(f"\x1b7{up}\x1b[{back}D{data}\x1b8", None, [(ControlType.CURSOR_FORWARD, 0)])
