"""The sixel format itself: a picture of few colours as text, six rows of pixels at a time.

A band of six rows is drawn once for each of its colours, a line each. Every character is a column
of six pixels, and `!n` says that the next one comes n times.
https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

BAND = 6
"""A sixel is six pixels high."""

LONGEST = 255
"""Columns that one `!n` repeats at most."""

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sixel:
    """A picture of W x H pixels, H a multiple of six, in L lines: a colour of a band each.

    `columns`: (L, W), the six pixels of every column as bits, the uppermost the lowest bit.
    `bands`, `colours`: (L,), rising by band. `palette`: (P, 3), percent of red, green, blue.
    """

    size: tuple[int, int]
    columns: npt.NDArray[np.uint8]
    bands: Array
    colours: Array
    palette: Array

    @classmethod
    def of(cls, picture: Image.Image) -> Self:
        """Of a picture with a palette; colours that sixel cannot tell apart become one."""
        palette = np.array(picture.getpalette(), np.int64).reshape(-1, 3)
        percents, same = np.unique((palette * 100 + 127) // 255, axis=0, return_inverse=True)
        pixels = same.reshape(-1)[np.asarray(picture)]
        (height, width), count = pixels.shape, len(percents)
        columns = np.zeros((height // BAND, count, width), np.uint8)
        first = np.arange(height // BAND)[:, None] * (count * width) + np.arange(width)
        for row in range(BAND):
            columns.reshape(-1)[first + pixels[row::BAND] * width] |= 1 << row
        bands, colours = np.nonzero(columns.any(2))
        return cls((width, height), columns[bands, colours], bands, colours, percents)

    @property
    def length(self) -> int:
        """Characters of the text."""
        _, _, lengths = self._runs
        runs = np.where(lengths > 3, 2 + _digits(lengths), lengths).sum()
        lines = (2 + _digits(self.colours)).sum() - 1
        used = np.unique(self.colours)
        palette = (6 + _digits(used) + _digits(self.palette[used]).sum(1)).sum()
        return len(self._head) + int(palette + lines + runs) + len(TAIL)

    @property
    def text(self) -> str:
        """What draws it at the cursor."""
        firsts, values, lengths = self._runs
        runs = list(map(_signs().__getitem__, (values * (LONGEST + 1) + lengths).tolist()))
        parts, before = [self._head, *self._colours()], 0
        lines = zip(self.bands.tolist(), self.colours.tolist(), pairwise(firsts), strict=True)
        for line, (band, colour, (first, last)) in enumerate(lines):
            begin = "-" if band != before else "$" if line else ""
            parts += (begin, f"#{colour}", *runs[first:last])
            before = band
        return "".join([*parts, TAIL])

    @property
    def _head(self) -> str:
        width, height = self.size
        return f'\x1bP0;1;0q"1;1;{width};{height}'

    def _colours(self) -> list[str]:
        used = np.unique(self.colours)
        rows = np.column_stack([used, self.palette[used]]).tolist()
        return ["#{};2;{};{};{}".format(*row) for row in rows]

    @cached_property
    def _runs(self) -> tuple[list[int], Array, Array]:
        """Where each line's runs of the same column begin (and the last ends); their columns and
        their lengths.

        What is empty at a line's end is left out.
        """
        width = self.size[0]
        begins = np.ones(self.columns.shape, bool)
        begins[:, 1:] = self.columns[:, 1:] != self.columns[:, :-1]
        begins[:, ::LONGEST] = True
        starts = begins.reshape(-1).nonzero()[0]
        lengths = np.diff(starts, append=begins.size)
        values = self.columns.reshape(-1)[starts].astype(np.int64)
        kept = (values != 0) | ((starts + lengths) % width != 0)
        counts = np.bincount(starts[kept] // width, minlength=len(self.columns))
        return [0, *np.cumsum(counts).tolist()], values[kept], lengths[kept]


TAIL = "\x1b\\"


def _digits(numbers: Array) -> Array:
    """Digits of numbers in 0..999."""
    return 1 + (numbers > 9) + (numbers > 99)


@cache
def _signs() -> list[str]:
    """What stands for every column and length of a run, at column * (LONGEST + 1) + length."""
    signs = [chr(63 + column) for column in range(1 << BAND)]
    lengths = range(LONGEST + 1)
    return [f"!{n}{sign}" if n > 3 else sign * n for sign in signs for n in lengths]
