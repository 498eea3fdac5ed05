"""A narcissus over water: a true reflection straight below it is a success."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hero_engine.embedded.drawer.common import (
    Attributes,
    Canvas,
    Colour,
    Point,
    colour,
    graded,
    pick,
    polar,
    shade,
)

VALUES = {"reflection": ("true", "none", "wrong")}
WATERLINE = 35.0

FAMILY = (
    "narcissus by a quiet spring and its reflection in the water",
    "a narcissus and its reflection",
    "narcissus by the water",
    "a narcissus reflected in a quiet spring",
)
NAMED = {
    "true": (
        "a narcissus with a true reflection",
        "a narcissus above its mirror image",
        "a flower with its right reflection below",
        "a narcissus truly mirrored in water",
    ),
    "none": (
        "a narcissus without a reflection",
        "a narcissus over empty water",
        "a flower by water with no reflection",
        "a narcissus and still empty water",
    ),
    "wrong": (
        "a narcissus with a wrong reflection",
        "a narcissus with a shifted reflection",
        "a flower with its reflection out of place",
        "a narcissus with a false mirror image",
    ),
}


def succeeds(attributes: Attributes) -> bool:
    """The reflection is there and in its place."""
    return attributes["reflection"] == "true"


def family(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The task's prompt over right, wrong and missing reflections."""
    caption = FAMILY[0] if rng.random() < 0.5 else pick(rng, FAMILY)
    return caption, {"reflection": pick(rng, VALUES["reflection"], [0.33, 0.37, 0.3])}


def honest(rng: np.random.Generator) -> dict[str, str]:
    """Attributes for a caption that tells the truth."""
    return {"reflection": pick(rng, VALUES["reflection"])}


def describe(rng: np.random.Generator, attributes: Attributes) -> str:
    """A true caption."""
    return pick(rng, NAMED[attributes["reflection"]])


def draw(rng: np.random.Generator, attributes: Attributes) -> Image.Image:
    """Sky, bank, water, the flower and what the water shows."""
    sky = colour(rng.uniform(0.5, 0.62), rng.uniform(0.15, 0.4), rng.uniform(0.88, 0.98))
    water = colour(rng.uniform(0.53, 0.66), rng.uniform(0.5, 0.7), rng.uniform(0.55, 0.8))
    canvas = Canvas(graded(sky, shade(sky, 0.95)))
    canvas.rectangle((0, WATERLINE - 5, 64, WATERLINE), colour(0.3, 0.55, rng.uniform(0.45, 0.65)))
    canvas.rectangle((0, WATERLINE, 64, 64), water)
    wrong = attributes["reflection"] == "wrong"
    side = 1 if rng.random() < 0.5 else -1
    x = 32 - 11 * side + rng.uniform(-3, 3) if wrong else rng.uniform(16, 48)
    y = rng.uniform(13.5, 16)
    turn = rng.uniform(0, 60)
    petals, stem = shade((252, 250, 240), rng.uniform(0.95, 1.0)), colour(0.32, 0.7, 0.5)
    paint_flower(canvas, (x, y), WATERLINE, petals, (245, 170, 40), stem, turn)
    if attributes["reflection"] != "none":
        shift = side * rng.uniform(18, 24) if wrong else 0.0
        pale = [mixed(c, water, 0.42) for c in (petals, (245, 170, 40), stem)]
        mirrored = 2 * WATERLINE - y - 1
        paint_flower(
            canvas, (x + shift, mirrored), WATERLINE + 0.5, pale[0], pale[1], pale[2], -turn
        )
    return canvas.finished()


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """``one`` with ``share`` of ``other`` in it."""
    red, green, blue = (int(a * (1 - share) + b * share) for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def paint_flower(
    canvas: Canvas,
    centre: Point,
    foot: float,
    petals: Colour,
    heart: Colour,
    stem: Colour,
    turn: float,
) -> None:
    """Six petals around a heart on a stem that ends at height ``foot``."""
    canvas.capsule(centre, (centre[0], foot), 1.2, stem)
    places = [polar(centre, turn + 60 * i, 6.0) for i in range(6)]
    for place in places:
        canvas.ellipse(place, (4.1, 4.1), petals, shade(petals, 0.55))
    for place in places:
        canvas.ellipse(place, (3.7, 3.7), petals)
    canvas.ellipse(centre, (3.6, 3.6), heart, shade(heart, 0.6))
