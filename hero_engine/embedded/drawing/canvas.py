"""A canvas of 64x64 pixels, drawn at four times the size and reduced."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
SCALE = 4

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    """Draws in units of finished pixels (0..64, y downwards)."""

    OUTLINE = 1.3
    """Width of outlines."""

    def __init__(self, background: Image.Image) -> None:
        self.image = background
        self._draw = ImageDraw.Draw(background)

    def polygon(self, points: Sequence[Point], fill: Colour, outline: Colour | None = None) -> None:
        """A filled polygon, with an outline around it if a colour is given."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.polygon(scaled, fill=fill)
        if outline is not None:
            self._draw.line(
                [*scaled, scaled[0]], fill=outline, width=round(self.OUTLINE * SCALE), joint="curve"
            )

    def ellipse(
        self, centre: Point, radii: Point, fill: Colour, outline: Colour | None = None
    ) -> None:
        """A filled ellipse; the outline lies around it, not inside."""
        if outline is not None:
            self.ellipse(centre, (radii[0] + self.OUTLINE, radii[1] + self.OUTLINE), outline)
        (x, y), (across, down) = centre, radii
        box = [(x - across) * SCALE, (y - down) * SCALE, (x + across) * SCALE, (y + down) * SCALE]
        self._draw.ellipse(box, fill=fill)

    def rectangle(
        self,
        box: tuple[float, float, float, float],
        fill: Colour,
        radius: float = 0,
        outline: Colour | None = None,
    ) -> None:
        """A filled rectangle (left, top, right, bottom), its corners rounded by ``radius``."""
        width = round(self.OUTLINE * SCALE) if outline is not None else 0
        self._draw.rounded_rectangle([v * SCALE for v in box], radius * SCALE, fill, outline, width)

    def capsule(self, start: Point, end: Point, radius: float, fill: Colour) -> None:
        """A thick line with round ends."""
        self._draw.line(
            [start[0] * SCALE, start[1] * SCALE, end[0] * SCALE, end[1] * SCALE],
            fill=fill,
            width=round(2 * radius * SCALE),
        )
        for point in (start, end):
            self.ellipse(point, (radius, radius), fill)

    def finished(self) -> Image.Image:
        """The picture, reduced to 64x64."""
        return self.image.resize((SIZE, SIZE), Image.Resampling.BOX)


def graded(top: Colour, bottom: Colour) -> Image.Image:
    """A background that goes from ``top`` to ``bottom``, at drawing size."""
    rows = np.linspace(0, 1, SIZE * SCALE)[:, None] * (np.array(bottom) - np.array(top)) + np.array(
        top
    )
    pixels = np.broadcast_to(rows[:, None, :], (SIZE * SCALE, SIZE * SCALE, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def pastel(rng: np.random.Generator, hue: tuple[float, float] = (0.3, 0.8)) -> Canvas:
    """A lightly graded pastel background; the hues leave out skin and wood."""
    base = rng.uniform(*hue)
    light = colour(base, rng.uniform(0.15, 0.4), rng.uniform(0.85, 0.97))
    return Canvas(graded(light, shade(light, rng.uniform(0.82, 0.95))))


def colour(hue: float, saturation: float, value: float) -> Colour:
    """HSV in 0..1 -> RGB."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return (int(red * 255), int(green * 255), int(blue * 255))


def shade(base: Colour, factor: float) -> Colour:
    """``base`` made darker (factor < 1) or lighter (> 1)."""
    red, green, blue = (min(255, int(channel * factor)) for channel in base)
    return (red, green, blue)


def polar(centre: Point, degrees: float, radius: float) -> Point:
    """The point ``radius`` away from ``centre``; 0 degrees points up, positive to the right."""
    angle = math.radians(degrees)
    return (centre[0] + radius * math.sin(angle), centre[1] - radius * math.cos(angle))
