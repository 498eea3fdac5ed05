"""A small line chart out of braille dots, two across and four down in every cell.

Own, since the library for it would be ten times its size and its Textual widget is years old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from textual.content import Content
from textual.widget import Widget

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille bits by row and column of a cell."""

BLANK = 0x2800
LABEL = 7
"""Cells for the numbers at the left."""


@dataclass(frozen=True)
class Series:
    """Points (x, y), x rising; a y of None leaves a gap. `colour` is a theme's variable."""

    points: tuple[tuple[float, float | None], ...]
    colour: str = "accent"

    @property
    def last(self) -> float | None:
        """The newest y there is."""
        return next((y for _, y in reversed(self.points) if y is not None), None)


class Canvas:
    """Dots on width x height cells; later ones win a cell's colour."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits: dict[tuple[int, int], int] = {}
        self._colours: dict[tuple[int, int], str] = {}

    def dot(self, x: int, y: int, colour: str) -> None:
        """A dot at x in 0..2 width - 1, y in 0..4 height - 1 from the top; outside is ignored."""
        cell = x // 2, y // 4
        if 0 <= x < 2 * self.width and 0 <= y < 4 * self.height:
            self._bits[cell] = self._bits.get(cell, 0) | DOTS[y % 4][x % 2]
            self._colours[cell] = colour

    def line(self, start: tuple[int, int], end: tuple[int, int], colour: str) -> None:
        """Dots from start to end."""
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
            self.dot(round(x), round(y), colour)

    def cross(self, x: int, y: int, colour: str) -> None:
        """Five dots, which are seen where one is not."""
        for across, down in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
            self.dot(x + across, y + down, colour)

    def row(self, y: int) -> Content:
        """A row of cells as text."""
        cells = [
            (chr(BLANK | self._bits.get((x, y), 0)), f"${self._colours.get((x, y), 'faint')}")
            for x in range(self.width)
        ]
        return Content.assemble(*cells)


class Chart(Widget):
    """Lines over the labels given so far, with a title that tells their newest values."""

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(
        self, title: str, series: Sequence[Series], low: float | None = None, high: float = 1.0
    ) -> None:
        super().__init__()
        self.heading, self.series = title, series
        self._range = None if low is None else (low, high)

    def render(self) -> Content:
        """Title, lines with the numbers of the lowest and the highest, labels below."""
        width, height = self.size.width - LABEL, self.size.height - 2
        if width < 4 or height < 1:
            return self._title()
        low, high = self._range or extent(self.series)
        canvas = Canvas(width, height)
        for each in self.series:
            _draw(canvas, each, self._span(), (low, high))
        numbers = {0: number(high), height - 1: number(low)}
        rows = [
            Content.assemble((f"{numbers.get(y, ''):>{LABEL - 1}}┤", "$quiet"), canvas.row(y))
            for y in range(height)
        ]
        return Content("\n").join([self._title(), *rows, self._feet(width)])

    def _title(self) -> Content:
        newest = [
            Content.assemble((number(each.last), f"${each.colour}"))
            for each in self.series
            if each.last is not None
        ]
        return Content.assemble((self.heading, "bold"), "  ", Content(" → ").join(newest))

    def _span(self) -> tuple[float, float]:
        """The first and the last x; alike for all charts of a run."""
        xs = [x for each in self.series for x, _ in each.points]
        return (min(xs), max(xs)) if xs else (0.0, 1.0)

    def _feet(self, width: int) -> Content:
        first, last = (f"{x:.0f}" for x in self._span())
        space = " " * max(1, width - len(first) - len(last) - 7)
        return Content.assemble((f"{'':>{LABEL}}{first}{space}{last} labels", "$quiet"))


def _draw(
    canvas: Canvas, series: Series, span: tuple[float, float], extent: tuple[float, float]
) -> None:
    """A series' line, with a cross at its newest point; a single one is that cross alone."""
    before: tuple[int, int] | None = None
    for x, y in series.points:
        if y is None:
            before = None
            continue
        bottom = 4 * canvas.height - 1
        here = _place(x, span, 2 * canvas.width - 1), _place(y, (extent[1], extent[0]), bottom)
        canvas.line(before or here, here, series.colour)
        before = here
    if before is not None:
        canvas.cross(*before, series.colour)


def _place(value: float, span: tuple[float, float], last: int) -> int:
    """Where a value lies between the ends of a span, as a dot in 0..last."""
    first, end = span
    return round(last * (value - first) / (end - first)) if end != first else last // 2


def extent(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and the highest y of all; one apart where all are alike."""
    values = [y for each in series for _, y in each.points if y is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def number(value: float) -> str:
    """A number in at most six characters: 0.47, 1.2e-5, 512."""
    value = round(value, 12) or 0.0
    if value == 0 or -3 <= floor(log10(abs(value))) < 4:
        digits = 2 if abs(value) < 100 else 0
        return f"{value:.{3 if 0 < abs(value) < 0.1 else digits}f}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


BARS = "▏▎▍▌▋▊▉█"


def bars(values: Sequence[tuple[str, float, str]], width: int) -> Content:
    """One bar a line: (name, length, what it says), the longest `width` cells."""
    longest = max((value for _, value, _ in values), default=0.0) or 1.0
    name_width = max((len(name) for name, _, _ in values), default=0)
    lines = []
    for name, value, words in values:
        full, rest = divmod(round(8 * width * value / longest), 8)
        bar = "█" * full + (BARS[rest - 1] if rest else "")
        lines.append(
            Content.assemble((f"{name:<{name_width}} ", "$quiet"), (bar, "$accent"), f" {words}")
        )
    return Content("\n").join(lines)
