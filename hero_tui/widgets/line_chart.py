"""A small line chart out of braille dots, two across and four down in every cell."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from textual.content import Content
from textual.widget import Widget

from hero_engine.core.numbering import round_name

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille bits by row and column of a cell."""

BLANK = 0x2800
LABEL = 7
"""Cells for the numbers at the left."""

FEW = 3
"""Rounds from which on there is a line."""


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
    """Lines over the labels given so far, under a title with their newest values.

    reading: a plain sentence below: what the figure is, and whether it is fine. low, high: the
    ends of the scale; without them it fits the values, and spans `least_span` at least.
    Before the third round there is a bar for each round in place of a line.
    """

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(
        self,
        title: str,
        series: Sequence[Series],
        low: float | None = None,
        high: float = 1.0,
        *,
        least_span: float = 0.0,
        reading: str = "",
    ) -> None:
        super().__init__()
        self.heading, self.series, self.reading = title, series, reading
        self._range = None if low is None else (low, high)
        self._least_span = least_span

    def render(self) -> Content:
        """Title, bars or lines, labels below, the reading."""
        reading = [Content.styled(row, "$quiet") for row in wrapped(self.reading, self.size.width)]
        width, height = self.size.width - LABEL, self.size.height - 1 - len(reading)
        if width < 4 or height < 2:
            return Content("\n").join([self._title(), *reading[: max(0, self.size.height - 1)]])
        drawn = self._bars(width) if self._few_rounds else self._lines(width, height - 1)
        return Content("\n").join([self._title(), *drawn, *reading])

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value of the scale."""
        return self._range or extent(self.series, self._least_span)

    @property
    def _few_rounds(self) -> bool:
        return len(self.series[-1].points) < FEW

    def _bars(self, width: int) -> list[Content]:
        """The newest series, a bar a round, which begins at 0: as long as its value."""
        low, high = min(0.0, self.range[0]), self.range[1]
        rows = [
            (round_name(index), max(0.0, (y - low) / (high - low)), number(y))
            for index, (_, y) in enumerate(self.series[-1].points)
            if y is not None
        ]
        return [bars([row], max(2, width - 8), longest=1.0) for row in rows]

    def _lines(self, width: int, height: int) -> list[Content]:
        low, high = self.range
        canvas = Canvas(width, height)
        for each in self.series:
            _draw(canvas, each, self._span(), (low, high))
        numbers = {0: number(high), height - 1: number(low)}
        rows = [
            Content.assemble((f"{numbers.get(y, ''):>{LABEL - 1}}┤", "$quiet"), canvas.row(y))
            for y in range(height)
        ]
        return [*rows, self._feet(width)]

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


def extent(series: Sequence[Series], least_span: float = 0.0) -> tuple[float, float]:
    """The lowest and the highest y of all, at least `least_span` apart, or one where all are alike.

    The scale is widened around the middle, and never below 0 where no value is.
    """
    values = [y for each in series for _, y in each.points if y is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    missing = (least_span or float(low == high)) - (high - low)
    if missing <= 0:
        return low, high
    floor = 0.0 if least_span and low >= 0 else low - missing
    bottom = max(floor, low - missing / 2)
    return bottom, bottom + (high - low) + missing


def wrapped(text: str, width: int) -> list[str]:
    """The text in rows of whole words."""
    return textwrap.wrap(text, max(8, width)) if text else []


def number(value: float) -> str:
    """A number in at most six characters: 0.47, 1.2e-5, 512."""
    value = round(value, 12) or 0.0
    if value == 0 or -3 <= floor(log10(abs(value))) < 4:
        digits = 2 if abs(value) < 100 else 0
        return f"{value:.{3 if 0 < abs(value) < 0.1 else digits}f}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


BARS = "▏▎▍▌▋▊▉█"


def bars(
    values: Sequence[tuple[str, float, str]], width: int, longest: float | None = None
) -> Content:
    """One bar a row: (name, length, text). A bar of length `longest` has `width` cells."""
    longest = longest or max((value for _, value, _ in values), default=0.0) or 1.0
    name_width = max((len(name) for name, _, _ in values), default=0)
    lines = []
    for name, value, words in values:
        full, rest = divmod(round(8 * width * value / longest), 8)
        bar = "█" * full + (BARS[rest - 1] if rest else "")
        lines.append(
            Content.assemble((f"{name:<{name_width}} ", "$quiet"), (bar, "$accent"), f" {words}")
        )
    return Content("\n").join(lines)
