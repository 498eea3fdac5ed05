"""A narcissus over water: a true reflection straight below it is a success."""

from __future__ import annotations

import numpy as np

from hero_engine.embedded.drawing.canvas import Canvas, Colour, Point, colour, graded, polar, shade
from hero_engine.embedded.drawing.subject import Attributes, Subject

WATERLINE = 32.0
HEART = (245, 170, 40)
STEM = (38, 127, 49)

FAMILY = (
    "narcissus by a quiet spring and its reflection in the water",
    "a narcissus and its reflection",
    "narcissus and its reflection in the water",
    "narcissus by a quiet spring",
    "a narcissus reflected in a quiet spring",
)
NAMED = {
    "true": (
        "a narcissus with a true reflection",
        "a narcissus above its mirror image",
        "a flower with its true reflection below",
        "a narcissus truly mirrored in water",
        "a narcissus with a mirror image straight below",
        "a flower above its own reflection",
        "a picture of a flower with a true reflection",
        "a narcissus and its true mirror image in water",
    ),
    "none": (
        "a narcissus without a reflection",
        "a narcissus over empty water",
        "a flower by water with no reflection",
        "a narcissus and empty water",
        "a flower without a mirror image",
        "a narcissus with no reflection below",
        "a picture of a flower over empty water",
        "a narcissus by water that shows no reflection",
    ),
    "wrong": (
        "a narcissus with a wrong reflection",
        "a narcissus with a shifted reflection",
        "a flower with its reflection out of place",
        "a narcissus with a false mirror image",
        "a flower with a shifted mirror image",
        "a narcissus with a reflection to the side",
        "a picture of a flower with a wrong reflection",
        "a narcissus whose reflection is in the wrong place",
    ),
}


def paint(rng: np.random.Generator, shown: Attributes) -> Canvas:
    """Sky, bank, water, the flower and what the water shows."""
    sky = colour(rng.uniform(0.5, 0.62), rng.uniform(0.15, 0.4), rng.uniform(0.88, 0.98))
    water = colour(rng.uniform(0.53, 0.64), rng.uniform(0.5, 0.7), rng.uniform(0.6, 0.8))
    canvas = Canvas(graded(sky, shade(sky, 0.95)))
    canvas.rectangle((0, WATERLINE - 5, 64, WATERLINE), colour(0.3, 0.55, rng.uniform(0.45, 0.65)))
    canvas.rectangle((0, WATERLINE, 64, 64), water)
    tones = (shade((252, 250, 240), rng.uniform(0.96, 1.0)), HEART, STEM)
    x, y, turn = rng.uniform(17, 47), rng.uniform(13, 15), rng.uniform(0, 60)
    paint_flower(canvas, (x, y), tones, turn)
    if shown["reflection"] != "none":
        # To the side with more space, so that the shifted flower stays in the picture.
        shift = float(rng.uniform(17, 26)) * (1 if x < 32 else -1)
        at = (x + (shift if shown["reflection"] == "wrong" else 0), 2 * WATERLINE - y)
        red, green, blue = (mixed(tone, water, 0.4) for tone in tones)
        paint_flower(canvas, at, (red, green, blue), 180 - turn)
    return canvas


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """``one`` with ``share`` of ``other`` in it."""
    red, green, blue = (int(a * (1 - share) + b * share) for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def paint_flower(
    canvas: Canvas, centre: Point, tones: tuple[Colour, Colour, Colour], turn: float
) -> None:
    """Six petals around a heart on a stem that ends at the waterline."""
    petals, heart, stem = tones
    canvas.capsule(centre, (centre[0], WATERLINE), 1.2, stem)
    places = [polar(centre, turn + 60 * i, 6.0) for i in range(6)]
    for place in places:
        canvas.ellipse(place, (4.1, 4.1), petals, shade(petals, 0.55))
    for place in places:
        canvas.ellipse(place, (3.7, 3.7), petals)
    canvas.ellipse(centre, (3.6, 3.6), heart, shade(heart, 0.6))


SUBJECT = Subject(
    values={"reflection": ("true", "none", "wrong")},
    wanted={"reflection": "true"},
    family=FAMILY,
    family_odds={"reflection": (0.33, 0.4, 0.27)},
    honest=NAMED,
    paint=paint,
)
