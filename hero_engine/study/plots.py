"""Curves with intervals, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 44, 52
COLOURS = (
    (31, 119, 180), (214, 39, 40), (44, 160, 44), (255, 127, 14), (148, 103, 189),
    (23, 190, 207), (140, 86, 75), (188, 189, 34), (227, 119, 194), (60, 60, 60),
)  # fmt: skip
INK, FAINT = (20, 20, 20), (215, 215, 215)
Pixel = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """points: (x, y, half of y's interval or None), rising in x; y in 0..1."""

    name: str
    points: Sequence[tuple[float, float, float | None]]


def draw(
    title: str, curves: Sequence[Curve], levels: Mapping[str, float], across: str = "labels"
) -> Image.Image:
    """Curves with bands from x = 0, levels as dashed lines, a legend; across: what x is."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    end = max((curve.points[-1][0] for curve in curves), default=1)
    _bands(picture, curves, end)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    _axes(pen, font, title, end, across)
    for number, level in enumerate(levels.values()):
        _dashes(pen, _place((0, level), end), _place((end, level), end), 6 + 6 * number)
    for curve, colour in _coloured(curves):
        line = [_place((x, y), end) for x, y, _ in curve.points]
        pen.line(line, colour, 3)
        for x, y in line:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
    _legend(pen, font, curves, levels)
    return picture


def _coloured(curves: Sequence[Curve]) -> list[tuple[Curve, tuple[int, int, int]]]:
    return [(curve, COLOURS[at % len(COLOURS)]) for at, curve in enumerate(curves)]


def _place(point: Pixel, end: float) -> Pixel:
    """Pixel of a value."""
    x, y = point
    return (
        LEFT + x / end * (WIDTH - LEFT - RIGHT),
        HEIGHT - BOTTOM - min(max(y, 0), 1) * (HEIGHT - TOP - BOTTOM),
    )


def _bands(picture: Image.Image, curves: Sequence[Curve], end: float) -> None:
    """Each curve's interval as a light band."""
    for curve, colour in _coloured(curves):
        known = [(x, y, half) for x, y, half in curve.points if half is not None]
        if len(known) < 2:
            continue
        above = [_place((x, y + half), end) for x, y, half in known]
        below = [_place((x, y - half), end) for x, y, half in known]
        mask = Image.new("L", picture.size, 0)
        ImageDraw.Draw(mask).polygon([*above, *reversed(below)], 40)
        picture.paste(Image.new("RGB", picture.size, colour), (0, 0), mask)


def _axes(
    pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, title: str,
    end: float, across: str,
) -> None:  # fmt: skip
    pen.text((LEFT, 14), title, INK, font)
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        start, stop = _place((0, share), end), _place((end, share), end)
        pen.line((*start, *stop), FAINT)
        pen.text((LEFT - 10, start[1]), f"{share:.1f}", INK, font, anchor="rm")
    for tick in range(5):
        at = end * tick / 4
        x, y = _place((at, 0), end)
        pen.line((x, y, x, y + 5), INK)
        pen.text((x, y + 10), f"{at:.0f}", INK, font, anchor="mt")
    pen.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12), across, INK, font, anchor="mb")


def _dashes(pen: ImageDraw.ImageDraw, start: Pixel, stop: Pixel, length: int) -> None:
    for x in range(int(start[0]), int(stop[0]), 2 * length):
        pen.line((x, start[1], min(x + length, stop[0]), start[1]), INK, 2)


def _legend(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    curves: Sequence[Curve],
    levels: Mapping[str, float],
) -> None:
    """Names in the lower right, one a line."""
    names = [*(curve.name for curve in curves), *levels]
    entries, widest = len(names), max(pen.textlength(name, font) for name in names)
    x, y = WIDTH - RIGHT - 54 - int(widest), HEIGHT - BOTTOM - 14 - 20 * entries
    pen.rectangle((x - 8, y - 12, WIDTH - RIGHT - 6, y + 20 * entries - 6), "white", FAINT)
    for curve, colour in _coloured(curves):
        pen.line((x, y, x + 28, y), colour, 3)
        pen.text((x + 36, y), curve.name, INK, font, anchor="lm")
        y += 20
    for number, name in enumerate(levels):
        _dashes(pen, (x, y), (x + 28, y), 6 + 6 * number)
        pen.text((x + 36, y), name, INK, font, anchor="lm")
        y += 20
