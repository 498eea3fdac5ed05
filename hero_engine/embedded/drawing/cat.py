"""A cat and a cardboard box: black, and inside, is a success."""

from __future__ import annotations

import numpy as np

from hero_engine.embedded.drawing.canvas import Canvas, Colour, Point, colour, pastel, shade
from hero_engine.embedded.drawing.subject import Attributes, Subject

FUR = {
    "black": (30, 30, 36),
    "gray": (150, 152, 160),
    "white": (246, 244, 238),
    "orange": (235, 140, 50),
}
LINES = {
    # Lighter than the fur, or ears and eyes would vanish in it.
    "black": (92, 92, 106),
    "gray": (55, 55, 65),
    "white": (90, 88, 85),
    "orange": (100, 50, 15),
}
Coat = tuple[Colour, Colour, Colour]
"""Fur, outline and eyes."""

FAMILY = (
    "a black cat sitting inside a cardboard box",
    "a black cat inside a box",
    "a black cat in a cardboard box",
    "a black cat and a box",
    "photo of a black cat sitting inside a box",
)
NAMED = {
    "inside": (
        "a {colour} cat really inside a box",
        "a box with a {colour} cat in it",
        "the {colour} cat sits in its box",
        "a {colour} cat peeking out of a box",
        "a picture of a {colour} cat in a box",
        "a cardboard box holding a {colour} cat",
        "a cat of {colour} colour inside a box",
        "a drawing of a {colour} cat inside a cardboard box",
    ),
    "beside": (
        "a {colour} cat beside a box",
        "a {colour} cat next to a cardboard box",
        "a box with a {colour} cat next to it",
        "a {colour} cat sitting outside a box",
        "a picture of a {colour} cat beside a box",
        "an empty cardboard box and a {colour} cat",
        "a cat of {colour} colour beside a box",
        "a drawing of a {colour} cat next to a box",
    ),
}


def paint(rng: np.random.Generator, shown: Attributes) -> Canvas:
    """A cat in or beside its box."""
    canvas = pastel(rng, (0.35, 0.8))
    box = colour(rng.uniform(0.06, 0.1), rng.uniform(0.4, 0.6), rng.uniform(0.68, 0.85))
    name = shown["colour"]
    eyes = colour(rng.choice([0.14, 0.25, 0.33]), 0.75, 0.95)
    coat = (shade(FUR[name], rng.uniform(0.95, 1.05)), LINES[name], eyes)
    paint_pair = paint_inside if shown["place"] == "inside" else paint_beside
    paint_pair(rng, canvas, box, coat)
    return canvas


def paint_inside(rng: np.random.Generator, canvas: Canvas, box: Colour, coat: Coat) -> None:
    """The cat's head over the front of the box, the flaps behind it."""
    middle = 32 + rng.uniform(-3, 3)
    paint_back(canvas, middle, box)
    head = (middle + rng.uniform(-2, 2), 25 + rng.uniform(-1.5, 1.5))
    paint_head(canvas, head, 14, coat)
    paint_box(canvas, (middle - 24, 37, middle + 24, 60), box)


def paint_beside(rng: np.random.Generator, canvas: Canvas, box: Colour, coat: Coat) -> None:
    """The whole cat on one side, the box on the other."""
    side = 1 if rng.random() < 0.5 else -1
    at, box_at = 32 - 17 * side + rng.uniform(-1, 1), 32 + 15.5 * side
    paint_box(canvas, (box_at - 14, 37, box_at + 14, 60), box)
    canvas.ellipse((at, 50), (10, 11), coat[0], coat[1])
    paint_head(canvas, (at, 32 + rng.uniform(-1.5, 1.5)), 11.5, coat)


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


def paint_head(canvas: Canvas, centre: Point, radius: float, coat: Coat) -> None:
    """Ears, face, eyes, nose."""
    (x, y), (fur, lines, _) = centre, coat
    for side in (-1, 1):
        ear = [
            (x + side * radius * a, y - radius * b)
            for a, b in ((0.25, 0.8), (0.95, 1.45), (0.98, 0.2))
        ]
        canvas.polygon(ear, fur, lines)
    canvas.ellipse(centre, (radius, radius * 0.9), fur, lines)
    for side in (-1, 1):
        paint_eye(canvas, (x + side * radius * 0.42, y - radius * 0.08), radius, coat)
    canvas.ellipse((x, y + radius * 0.38), (radius * 0.14, radius * 0.1), (235, 130, 150))


def paint_eye(canvas: Canvas, centre: Point, radius: float, coat: Coat) -> None:
    """An eye with a slit, for a head of this ``radius``."""
    canvas.ellipse(centre, (radius * 0.23, radius * 0.25), coat[2], coat[1])
    canvas.ellipse(centre, (radius * 0.08, radius * 0.22), (10, 10, 10))


SUBJECT = Subject(
    values={"colour": ("black", "gray", "white", "orange"), "place": ("inside", "beside")},
    wanted={"colour": "black", "place": "inside"},
    family=FAMILY,
    family_odds={"colour": (0.55, 0.15, 0.15, 0.15), "place": (0.6, 0.4)},
    honest=NAMED,
    paint=paint,
)
