"""Mountains, perhaps through a train window: through the window is a success.

Green or snowy is a matter of taste, to simulate two people.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hero_engine.embedded.drawing.canvas import Canvas, Colour, Point, colour, graded, shade
from hero_engine.embedded.drawing.subject import Attributes, Subject

FAMILY = (
    "beautiful mountains viewed from a train window",
    "mountains from a train window",
    "beautiful mountains from a train",
    "mountains viewed from a train",
    "photo of mountains viewed from a train window",
)
NAMED = {
    "window": (
        "{season} mountains behind a window frame",
        "a window frame with {season} mountains",
        "{season} mountains seen through a real window",
        "looking out of a window at {season} mountains",
        "a framed view of {season} mountains behind glass",
        "inside a train with {season} mountains outside",
        "a picture of a window and {season} mountains",
        "{season} mountains behind a window bar",
    ),
    "open": (
        "{season} mountains in the open",
        "{season} mountains without any window",
        "a wide view of {season} mountains",
        "a landscape of {season} mountains",
        "{season} mountains with no frame",
        "an open landscape with {season} mountains",
        "a picture of {season} mountains in the open",
        "outside in front of {season} mountains",
    ),
}


def paint(rng: np.random.Generator, shown: Attributes) -> Canvas:
    """The landscape, and the window over it."""
    snowy = shown["season"] == "snowy"
    sky = colour(rng.uniform(0.52, 0.62), rng.uniform(0.2, 0.5), rng.uniform(0.85, 0.98))
    canvas = Canvas(graded(sky, shade(sky, 1.05)))
    paint_mountains(rng, canvas, snowy)
    if shown["view"] == "window":
        # No green frame: green is what tells the seasons apart.
        hue = rng.choice([0.0, 0.08, 0.6, 0.75])
        frame = colour(hue, rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.5))
        paint_window(canvas, frame, 32 + rng.uniform(-2, 2))
    return canvas


def paint_mountains(rng: np.random.Generator, canvas: Canvas, snowy: bool) -> None:
    """Three peaks over a plain, with caps of snow or with trees."""
    hue, strength = (0.66, 0.2) if snowy else (0.36, 0.5)
    rock = colour(hue, strength, rng.uniform(0.45, 0.58))
    horizon = rng.uniform(42, 45)
    for place in rng.permutation([rng.uniform(10, 16), rng.uniform(28, 36), rng.uniform(48, 54)]):
        peak = (float(place), rng.uniform(14, 22))
        tone = shade(rock, rng.uniform(0.88, 1.12))
        paint_peak(canvas, peak, (horizon, rng.uniform(15, 20)), tone, snowy)
    ground = (238, 242, 248) if snowy else colour(0.27, 0.6, rng.uniform(0.62, 0.78))
    canvas.rectangle((0, horizon, 64, 64), ground)
    if not snowy:
        for x in (15, 26, 38, 49):
            paint_tree(canvas, (x + rng.uniform(-2, 2), rng.uniform(horizon + 3, 50)))


def paint_peak(
    canvas: Canvas, peak: Point, base: tuple[float, float], tone: Colour, snowy: bool
) -> None:
    """A mountain on a ``base`` (height, half width); snow covers its upper two fifths."""
    (x, top), (horizon, half), line = peak, base, shade(tone, 0.45)
    canvas.polygon([(x - half, horizon), peak, (x + half, horizon)], tone, line)
    if snowy:
        low, reach = top + (horizon - top) * 0.42, half * 0.42
        canvas.polygon([(x - reach, low), peak, (x + reach, low)], (250, 250, 253), line)


def paint_tree(canvas: Canvas, foot: Point) -> None:
    """A small fir."""
    x, y = foot
    fir = [(x - 4, y + 2), (x, y - 8), (x + 4, y + 2)]
    canvas.polygon(fir, colour(0.36, 0.65, 0.38), colour(0.36, 0.6, 0.15))


def paint_window(canvas: Canvas, frame: Colour, bar: float) -> None:
    """A wall with an opening: four sides, a bar in the middle and dark edges."""
    for box in (
        (0, 0, 64, 7),
        (0, 54, 64, 64),
        (0, 0, 7, 64),
        (57, 0, 64, 64),
        (bar - 2, 0, bar + 2, 58),
    ):
        canvas.rectangle(box, frame)
    dark = shade(frame, 0.45)
    for left, right in ((7, bar - 2), (bar + 2, 57)):
        corners = [(left, 7), (right, 7), (right, 54), (left, 54), (left, 7)]
        for start, end in pairwise(corners):
            canvas.capsule(start, end, 0.7, dark)


SUBJECT = Subject(
    values={"view": ("window", "open"), "season": ("green", "snowy")},
    wanted={"view": "window"},
    family=FAMILY,
    family_odds={"view": (0.33, 0.67)},
    honest=NAMED,
    paint=paint,
)
