"""The sixel format itself: a picture of few colours as text, six rows of pixels at a time.

A band of six rows is drawn once for each of its colours, a line each. Every character is a column
of six pixels, and `!n` says that the next one comes n times.
https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

BAND = 6
"""A sixel is six pixels high."""

LONGEST = 255
"""Columns that one `!n` repeats at most."""

COLOURS = 256
"""Colours of a picture at most."""

LINES = (1 << BAND) * (LONGEST + 1)

APART = np.array([101 * 101, 101, 1])
"""Makes one number of a colour's three percents."""

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sixel:
    """A picture of W x H pixels, H a multiple of six, as R runs of columns that are alike.

    A line is one colour of a band. `lines`: (R,), band * P + colour, rising. `gaps`: (R,), empty
    columns between a run and the one before it in its line. `columns`: (R,), the six pixels of the
    run's columns as bits, the uppermost the lowest bit; `lengths`: (R,), how many of them.
    `palette`: (P, 3), percent of red, green, blue.
    """

    size: tuple[int, int]
    lines: Array
    gaps: Array
    columns: Array
    lengths: Array
    palette: Array

    @classmethod
    def of(cls, picture: Image.Image) -> Self:
        """Of a picture with a palette; colours that sixel cannot tell apart become one."""
        palette = np.array(picture.getpalette(), np.int64).reshape(-1, 3)
        percents = (palette * 100 + 127) // 255
        _, kept, same = np.unique(percents @ APART, return_index=True, return_inverse=True)
        filled, columns = _filled(same[np.asarray(picture)], len(kept))
        starts = _starts(filled, columns, picture.width)
        lengths = np.diff(np.concatenate([starts, [len(filled)]]))
        lines, left = np.divmod(filled[starts], picture.width + 1)
        gaps = left.copy()
        gaps[1:] -= np.where(lines[1:] == lines[:-1], (left + lengths)[:-1], 0)
        values = columns[starts].astype(np.int64)
        return cls(picture.size, lines, gaps, values, lengths, percents[kept])

    @property
    def length(self) -> int:
        """Characters of the text."""
        return len(self._head) + int(_table().sizes[self._signs].sum()) + len(TAIL)

    @property
    def text(self) -> str:
        """What draws it at the cursor."""
        signs = _table().signs[self._signs].tobytes().translate(None, b"\0")
        return self._head + signs.decode("ascii") + TAIL

    @cached_property
    def _head(self) -> str:
        """What begins the sixel. No register below the last is left out: tmux 3.6 would define it
        wrongly, and xterm then draws nothing."""
        width, height = self.size
        used = np.arange((self.lines % len(self.palette)).max() + 1)
        rows = np.column_stack([used, self.palette[used]]).tolist()
        colours = ["#{};2;{};{};{}".format(*row) for row in rows]
        return "".join([f'\x1bP0;1;0q"1;1;{width};{height}', *colours])

    @cached_property
    def _signs(self) -> Array:
        """Rows of the table that stand for the runs, (R, G + 3): what begins a line, a gap of
        LONGEST for G times at most, the rest of the gap, and the run itself.
        """
        whole, rest = np.divmod(self.gaps, LONGEST)
        many = np.arange(whole.max()) < whole[:, None]
        runs = self.columns * (LONGEST + 1) + self.lengths
        return np.column_stack([self._begins(), many * LONGEST, rest, runs])

    def _begins(self) -> Array:
        """Rows of the table: for a line's first run what begins it, for the others nothing."""
        bands, colours = np.divmod(self.lines, len(self.palette))
        kind = 1 + _unlike(bands)
        kind[0] = 0
        return np.where(_unlike(self.lines), LINES + kind * COLOURS + colours, 0)


TAIL = "\x1b\\"


def _filled(pixels_H_W: Array, colours: int) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Where a column has pixels of a colour, at line * (W + 1) + x, rising; and which, as bits.

    No two lines touch, since none has anything at x = W.
    """
    height, width = pixels_H_W.shape
    bits = np.zeros(height // BAND * colours * (width + 1), np.uint8)
    first = np.arange(height // BAND)[:, None] * (colours * (width + 1)) + np.arange(width)
    for row in range(BAND):
        bits[first + pixels_H_W[row::BAND] * (width + 1)] |= 1 << row
    filled = (bits != 0).nonzero()[0]
    return filled, bits[filled]


def _starts(filled: Array, columns: npt.NDArray[np.uint8], width: int) -> Array:
    """Which of the filled columns are unlike the one before, or may not come in one run with it."""
    begins = _unlike(columns)
    begins[1:] |= np.diff(filled) != 1
    if width > LONGEST:
        begins |= filled % (width + 1) % LONGEST == 0
    return begins.nonzero()[0]


def _unlike(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which values differ from the one before; the first one does."""
    unlike = np.ones(len(values), bool)
    unlike[1:] = values[1:] != values[:-1]
    return unlike


class Table(NamedTuple):
    """Signs, ASCII and zeros, (N, 5), and how many characters each has, (N,).

    At column * (LONGEST + 1) + length are runs of a column; the first stands for nothing. From
    LINES on, at kind * COLOURS + colour, is what begins the first line, one of the same band, and
    one of the next.
    """

    signs: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.uint8]


@cache
def _table() -> Table:
    columns = [chr(63 + column) for column in range(1 << BAND)]
    lengths = range(LONGEST + 1)
    runs = [f"!{n}{sign}" if n > 3 else sign * n for sign in columns for n in lengths]
    lines = [f"{begin}#{colour}" for begin in ("", "$", "-") for colour in range(COLOURS)]
    signs = np.array([*runs, *lines], "S5").view(np.uint8).reshape(-1, 5)
    return Table(signs, (signs != 0).sum(1, dtype=np.uint8))
