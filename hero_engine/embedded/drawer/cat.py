"""A cat and a cardboard box: black, and inside, is a success."""

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
    shade,
)

VALUES = {"colour": ("black", "gray", "white", "orange"), "place": ("inside", "beside")}
FUR = {
    "black": (38, 38, 46),
    "gray": (140, 142, 150),
    "white": (246, 244, 238),
    "orange": (235, 140, 50),
}
LINES = {"black": (0, 0, 0), "gray": (55, 55, 65), "white": (90, 88, 85), "orange": (100, 50, 15)}

FAMILY = (
    "a black cat sitting inside a cardboard box",
    "a black cat inside a box",
    "a black cat in a cardboard box",
    "a cat sitting inside a box",
)
NAMED = {
    "inside": (
        "a {c} cat truly inside a box",
        "a box with a {c} cat in it",
        "the {c} cat sits in its box",
        "a {c} cat peeking out of a box",
        "a picture of a {c} cat in a box",
    ),
    "beside": (
        "a {c} cat beside a box",
        "a {c} cat next to a cardboard box",
        "a box with a {c} cat next to it",
        "a {c} cat sitting outside a box",
        "a picture of a {c} cat beside a box",
    ),
}


def succeeds(attributes: Attributes) -> bool:
    """Black, and in the box."""
    return attributes["colour"] == "black" and attributes["place"] == "inside"


def family(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The task's prompt over a mixture of colours and places."""
    caption = FAMILY[0] if rng.random() < 0.5 else pick(rng, FAMILY)
    fur = pick(rng, VALUES["colour"], [0.5, 0.18, 0.16, 0.16])
    return caption, {"colour": fur, "place": pick(rng, VALUES["place"], [0.58, 0.42])}


def honest(rng: np.random.Generator) -> dict[str, str]:
    """Attributes for a caption that tells the truth."""
    return {name: pick(rng, values) for name, values in VALUES.items()}


def describe(rng: np.random.Generator, attributes: Attributes) -> str:
    """A true caption."""
    return pick(rng, NAMED[attributes["place"]]).format(c=attributes["colour"])


def draw(rng: np.random.Generator, attributes: Attributes) -> Image.Image:
    """A cat in or beside its box."""
    canvas = pastel(rng, (0.35, 0.9))
    box = colour(rng.uniform(0.06, 0.1), rng.uniform(0.4, 0.6), rng.uniform(0.68, 0.85))
    fur, lines = (
        shade(FUR[attributes["colour"]], rng.uniform(0.93, 1.05)),
        LINES[attributes["colour"]],
    )
    eyes = colour(rng.choice([0.14, 0.25, 0.33]), 0.75, 0.95)
    if attributes["place"] == "inside":
        middle = 32 + rng.uniform(-3, 3)
        paint_back(canvas, middle, box)
        paint_head(
            canvas, (middle + rng.uniform(-2, 2), 24 + rng.uniform(-2, 2)), 13, fur, lines, eyes
        )
        paint_box(canvas, (middle - 24, 37, middle + 24, 60), box)
        return canvas.finished()
    side = 1 if rng.random() < 0.5 else -1
    at = 32 - 16.5 * side + rng.uniform(-1, 1)
    box_at = 32 + 14.5 * side
    paint_box(canvas, (box_at - 15, 36, box_at + 15, 60), box)
    canvas.ellipse((at, 50), (10, 11), fur, lines)
    paint_head(canvas, (at, 31 + rng.uniform(-1.5, 1.5)), 10.5, fur, lines, eyes)
    return canvas.finished()


def paint_back(canvas: Canvas, middle: float, fill: Colour) -> None:
    """The open flaps behind the cat."""
    dark = shade(fill, 0.75)
    canvas.polygon(
        [(middle - 24, 37), (middle - 18, 29), (middle + 18, 29), (middle + 24, 37)],
        dark,
        shade(fill, 0.35),
    )


def paint_box(canvas: Canvas, box: tuple[float, float, float, float], fill: Colour) -> None:
    """The front of a box, with a seam."""
    canvas.rectangle(box, fill, outline=shade(fill, 0.35))
    middle = (box[0] + box[2]) / 2
    canvas.capsule((middle, box[1] + 1), (middle, box[3] - 1), 0.5, shade(fill, 0.6))


def paint_head(
    canvas: Canvas, centre: Point, radius: float, fur: Colour, lines: Colour, eyes: Colour
) -> None:
    """Ears, face, eyes, nose."""
    x, y = centre
    for side in (-1, 1):
        ear = [
            (x + side * radius * a, y - radius * b)
            for a, b in ((0.25, 0.8), (0.95, 1.45), (0.98, 0.2))
        ]
        canvas.polygon(ear, fur, lines)
    canvas.ellipse(centre, (radius, radius * 0.9), fur, lines)
    for side in (-1, 1):
        canvas.ellipse(
            (x + side * radius * 0.42, y - radius * 0.08),
            (radius * 0.23, radius * 0.25),
            eyes,
            lines,
        )
        canvas.ellipse(
            (x + side * radius * 0.42, y - radius * 0.08),
            (radius * 0.08, radius * 0.22),
            (10, 10, 10),
        )
    canvas.ellipse((x, y + radius * 0.38), (radius * 0.14, radius * 0.1), (235, 130, 150))
