"""Roses in a vase: one, and blue, is a success."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hero_engine.embedded.drawer.common import (
    Attributes,
    Canvas,
    Colour,
    Point,
    colour,
    pastel,
    pick,
    polar,
    shade,
)

VALUES = {"colour": ("blue", "red", "yellow", "pink", "white"), "count": ("1", "2", "3")}
PETALS = {
    "blue": (45, 80, 205),
    "red": (205, 35, 50),
    "yellow": (240, 205, 40),
    "pink": (245, 135, 180),
    "white": (250, 248, 240),
}
HEADS = {
    "1": ((0.0, 20.0),),
    "2": ((-11.5, 22.0), (11.5, 20.0)),
    "3": ((-16.5, 24.0), (0.0, 15.0), (16.5, 24.0)),
}
"""Where the roses sit: sideways from the vase, and down from the top."""
RADIUS = {"1": 13.0, "2": 9.8, "3": 8.3}

FAMILY = (
    "photo of one blue rose in a vase",
    "a blue rose in a vase",
    "one blue rose",
    "photo of a blue rose",
)
NUMBER = {"1": "one", "2": "two", "3": "three"}
NAMED = (
    "{n} {c} rose{s} in a vase",
    "exactly {n} {c} rose{s}",
    "a vase with {n} {c} rose{s}",
    "a picture of {n} {c} rose{s}",
    "{n} {c} flower{s} in a vase",
    "a drawing of {n} {c} rose{s}",
    "{n} rose{s} of {c} colour",
    "a still life of {n} {c} rose{s}",
)


def succeeds(attributes: Attributes) -> bool:
    """One rose, and blue."""
    return attributes["colour"] == "blue" and attributes["count"] == "1"


def family(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The task's prompt over a mixture of colours and counts."""
    caption = FAMILY[0] if rng.random() < 0.5 else pick(rng, FAMILY)
    colour_name = pick(rng, VALUES["colour"], [0.5, 0.14, 0.12, 0.12, 0.12])
    return caption, {"colour": colour_name, "count": pick(rng, VALUES["count"], [0.62, 0.22, 0.16])}


def honest(rng: np.random.Generator) -> dict[str, str]:
    """Attributes for a caption that tells the truth."""
    return {name: pick(rng, values) for name, values in VALUES.items()}


def describe(rng: np.random.Generator, attributes: Attributes) -> str:
    """A true caption."""
    plural = "" if attributes["count"] == "1" else "s"
    return pick(rng, NAMED).format(n=NUMBER[attributes["count"]], c=attributes["colour"], s=plural)


def draw(rng: np.random.Generator, attributes: Attributes) -> Image.Image:
    """Roses over a vase."""
    canvas = pastel(rng, (0.28, 0.9))
    middle = 32 + rng.uniform(-2.5, 2.5)
    vase = colour(
        rng.choice([0.05, 0.1, 0.35, 0.5, 0.75]), rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.85)
    )
    petals = shade(PETALS[attributes["colour"]], rng.uniform(0.92, 1.06))
    stem = colour(0.33, 0.7, rng.uniform(0.4, 0.55))
    heads = [
        (middle + x + rng.uniform(-0.8, 0.8), y + rng.uniform(-1, 1))
        for x, y in HEADS[attributes["count"]]
    ]
    for head in heads:
        canvas.capsule(head, (middle, 50), 1.1, stem)
    paint_vase(canvas, middle, rng.uniform(0.9, 1.1), vase)
    for head in heads:
        paint_rose(canvas, head, RADIUS[attributes["count"]] * rng.uniform(0.95, 1.05), petals)
    return canvas.finished()


def paint_vase(canvas: Canvas, middle: float, width: float, fill: Colour) -> None:
    """A vase with a waist."""
    half = [(9.0, 41.0), (5.5, 46.0), (8.0, 61.0)]
    right = [(middle + x * width, y) for x, y in half]
    left = [(middle - x * width, y) for x, y in reversed(half)]
    canvas.polygon([*right, *left], fill, shade(fill, 0.35))


def paint_rose(canvas: Canvas, centre: Point, radius: float, fill: Colour) -> None:
    """Petals as rings of darker and lighter colour, in a dark outline."""
    canvas.ellipse(centre, (radius, radius), fill, shade(fill, 0.3))
    for share, tone in ((0.72, 0.78), (0.6, 1.0), (0.36, 0.7), (0.2, 1.0)):
        inner = polar(centre, 40, radius * (1 - share) * 0.25)
        canvas.ellipse(inner, (radius * share, radius * share), shade(fill, tone))
