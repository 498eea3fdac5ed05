"""Roses in a vase: one, and blue, is a success."""

from __future__ import annotations

import numpy as np

from hero_engine.embedded.drawing.canvas import Canvas, Colour, Point, colour, pastel, polar, shade
from hero_engine.embedded.drawing.subject import Attributes, Subject

PETALS = {
    "blue": (45, 80, 205),
    "red": (205, 35, 50),
    "yellow": (240, 205, 40),
    "pink": (245, 135, 180),
    "white": (250, 248, 240),
}
HEADS = {
    "1": ((0.0, 20.0),),
    "2": ((-13.2, 22.0), (13.2, 20.0)),
    "3": ((-18.0, 25.0), (0.0, 14.0), (18.0, 25.0)),
}
"""Where the roses sit: sideways from the vase, and down from the top."""
RADIUS = {"1": 14.0, "2": 10.4, "3": 8.6}
VASES = (
    ((9.0, 41.0), (5.5, 46.0), (8.0, 61.0)),
    ((6.0, 41.0), (6.0, 45.0), (10.5, 52.0), (7.0, 61.0)),
    ((9.5, 41.5), (6.5, 61.0)),
    ((5.0, 40.0), (5.5, 48.0), (9.5, 61.0)),
)
"""Right halves of the vases' outlines, as sideways and downwards."""

FAMILY = (
    "photo of one blue rose in a vase",
    "a blue rose in a vase",
    "one blue rose",
    "photo of a blue rose",
    "a vase with a blue rose",
)
NAMED = (
    "exactly {number} {colour} rose{s} in a vase",
    "exactly {number} {colour} rose{s}",
    "a picture of {number} {colour} rose{s}",
    "a vase holding {number} {colour} rose{s}",
    "{number} {colour} flower{s} in a vase",
    "a drawing of {number} {colour} rose{s}",
    "{number} rose{s} of {colour} colour in a vase",
    "a still life of {number} {colour} rose{s}",
    "a bouquet of {number} {colour} rose{s}",
)


def paint(rng: np.random.Generator, shown: Attributes) -> Canvas:
    """Roses over a vase."""
    canvas = pastel(rng, (0.28, 0.76))
    middle = 32 + rng.uniform(-2.5, 2.5)
    stem = colour(0.33, 0.7, rng.uniform(0.4, 0.55))
    heads = [
        (middle + x + rng.uniform(-0.6, 0.6), y + rng.uniform(-1, 1))
        for x, y in HEADS[shown["count"]]
    ]
    for head in heads:
        canvas.capsule(head, (middle, 50), 1.1, stem)
    paint_vase(rng, canvas, middle)
    petals = shade(PETALS[shown["colour"]], rng.uniform(0.94, 1.06))
    for head in heads:
        paint_rose(canvas, head, RADIUS[shown["count"]] * rng.uniform(0.95, 1.03), petals)
    return canvas


def paint_vase(rng: np.random.Generator, canvas: Canvas, middle: float) -> None:
    """A vase of one of several outlines, in clay, sand, teal or violet."""
    tone = (rng.choice([0.05, 0.1, 0.5, 0.78]), rng.uniform(0.3, 0.5), rng.uniform(0.65, 0.88))
    width = rng.uniform(0.9, 1.15)
    half = VASES[int(rng.integers(len(VASES)))]
    right = [(middle + x * width, y) for x, y in half]
    left = [(middle - x * width, y) for x, y in reversed(half)]
    fill = colour(*tone)
    canvas.polygon([*right, *left], fill, shade(fill, 0.3))


def paint_rose(canvas: Canvas, centre: Point, radius: float, fill: Colour) -> None:
    """Petals as rings of darker and lighter colour, in a dark outline."""
    canvas.ellipse(centre, (radius, radius), fill, shade(fill, 0.3))
    for share, tone in ((0.72, 0.78), (0.6, 1.0), (0.36, 0.7), (0.2, 1.0)):
        inner = polar(centre, 40, radius * (1 - share) * 0.25)
        canvas.ellipse(inner, (radius * share, radius * share), shade(fill, tone))


SUBJECT = Subject(
    values={"colour": ("blue", "red", "yellow", "pink", "white"), "count": ("1", "2", "3")},
    wanted={"colour": "blue", "count": "1"},
    family=FAMILY,
    family_odds={"colour": (0.5, 0.125, 0.125, 0.125, 0.125), "count": (0.65, 0.2, 0.15)},
    honest=NAMED,
    words={
        "number": {"1": ("one",), "2": ("two",), "3": ("three",)},
        "s": {"1": ("",), "2": ("s",), "3": ("s",)},
    },
    paint=paint,
)
