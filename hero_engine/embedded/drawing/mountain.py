"""Mountains, perhaps through a train window: through the window is a success.

Green or snowy is a matter of taste, so that two people can be told apart.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image

from hero_engine.embedded.drawing.common import (
    Attributes,
    Canvas,
    Colour,
    Look,
    Point,
    colour,
    filled,
    graded,
    pick,
    prompt_or_paraphrase,
    shade,
    uniform,
)

VALUES = {"view": ("window", "open"), "season": ("green", "snowy")}

FAMILY = (
    "beautiful mountains viewed from a train window",
    "mountains from a train window",
    "beautiful mountains from a train",
    "mountains viewed from a train",
    "photo of mountains viewed from a train window",
)
NAMED = {
    "window": (
        "{s} mountains behind a window frame",
        "a window frame with {s} mountains",
        "{s} mountains seen through a real window",
        "looking out of a window at {s} mountains",
        "a framed view of {s} mountains behind glass",
        "inside a train with {s} mountains outside",
        "a picture of a window and {s} mountains",
        "{s} mountains behind a window bar",
    ),
    "open": (
        "{s} mountains in the open",
        "{s} mountains without any window",
        "a wide view of {s} mountains",
        "a landscape of {s} mountains",
        "{s} mountains with no frame",
        "an open landscape with {s} mountains",
        "a picture of {s} mountains in the open",
        "outside in front of {s} mountains",
    ),
}


def succeeds(attributes: Attributes) -> bool:
    """Seen through a window."""
    return attributes["view"] == "window"


def family(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The task's prompt over both views."""
    view = pick(rng, VALUES["view"], [0.33, 0.67])
    shown = {"view": view, "season": pick(rng, VALUES["season"])}
    return prompt_or_paraphrase(rng, FAMILY), shown


def honest(rng: np.random.Generator) -> dict[str, str]:
    """Attributes for a caption that tells the truth."""
    return uniform(rng, VALUES)


def look(rng: np.random.Generator) -> Look:
    """Nothing beside the attributes is ever named."""
    return {}


def describe(rng: np.random.Generator, attributes: Attributes, shown: Look) -> str:
    """A true caption."""
    return filled(pick(rng, NAMED[attributes["view"]]), {"s": attributes["season"]})


def draw(rng: np.random.Generator, attributes: Attributes, shown: Look) -> Image.Image:
    """The landscape, and the window over it."""
    snowy = attributes["season"] == "snowy"
    sky = colour(rng.uniform(0.52, 0.62), rng.uniform(0.2, 0.5), rng.uniform(0.85, 0.98))
    canvas = Canvas(graded(sky, shade(sky, 1.05)))
    paint_mountains(rng, canvas, snowy)
    if attributes["view"] == "window":
        # No green frame: green is what tells the seasons apart.
        hue = rng.choice([0.0, 0.08, 0.6, 0.75])
        frame = colour(hue, rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.5))
        paint_window(canvas, frame, 32 + rng.uniform(-2, 2))
    return canvas.finished()


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
