"""Mountains, perhaps through a train window: through the window is a success.

Green or snowy is a matter of taste, so that two people can be told apart.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from hero_engine.embedded.drawer.common import (
    Attributes,
    Canvas,
    Colour,
    colour,
    graded,
    pick,
    shade,
)

VALUES = {"view": ("window", "open"), "season": ("green", "snowy")}

FAMILY = (
    "beautiful mountains viewed from a train window",
    "mountains from a train window",
    "beautiful mountains",
    "mountains viewed from a train",
)
NAMED = {
    "window": (
        "{s} mountains behind a window frame",
        "a train window with {s} mountains",
        "{s} mountains seen through a real window",
        "looking out of a window at {s} mountains",
    ),
    "open": (
        "{s} mountains in the open",
        "{s} mountains without any window",
        "a wide view of {s} mountains",
        "a landscape of {s} mountains",
    ),
}


def succeeds(attributes: Attributes) -> bool:
    """Seen through a window."""
    return attributes["view"] == "window"


def family(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The task's prompt over both views."""
    caption = FAMILY[0] if rng.random() < 0.5 else pick(rng, FAMILY)
    view = pick(rng, VALUES["view"], [0.33, 0.67])
    return caption, {"view": view, "season": pick(rng, VALUES["season"])}


def honest(rng: np.random.Generator) -> dict[str, str]:
    """Attributes for a caption that tells the truth."""
    return {name: pick(rng, values) for name, values in VALUES.items()}


def describe(rng: np.random.Generator, attributes: Attributes) -> str:
    """A true caption."""
    return pick(rng, NAMED[attributes["view"]]).format(s=attributes["season"])


def draw(rng: np.random.Generator, attributes: Attributes) -> Image.Image:
    """The landscape, and the window over it."""
    snowy = attributes["season"] == "snowy"
    sky = colour(rng.uniform(0.52, 0.62), rng.uniform(0.2, 0.5), rng.uniform(0.85, 0.98))
    canvas = Canvas(graded(sky, shade(sky, 1.05)))
    paint_mountains(rng, canvas, snowy)
    if attributes["view"] == "window":
        frame = colour(
            rng.choice([0.0, 0.08, 0.33, 0.6, 0.75]), rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.45)
        )
        paint_window(canvas, frame, 32 + rng.uniform(-2, 2))
    return canvas.finished()


def paint_mountains(rng: np.random.Generator, canvas: Canvas, snowy: bool) -> None:
    """Three peaks over a plain, with caps of snow or with trees."""
    ground = (238, 242, 248) if snowy else colour(0.29, 0.6, rng.uniform(0.5, 0.7))
    rock = (
        colour(0.66, 0.2, rng.uniform(0.45, 0.6))
        if snowy
        else colour(0.34, 0.5, rng.uniform(0.4, 0.55))
    )
    horizon = rng.uniform(42, 46)
    places = rng.permutation([rng.uniform(10, 16), rng.uniform(28, 36), rng.uniform(48, 54)])
    for place in places:
        top, half = rng.uniform(15, 24), rng.uniform(15, 20)
        tone = shade(rock, rng.uniform(0.85, 1.1))
        canvas.polygon(
            [(place - half, horizon), (place, top), (place + half, horizon)], tone, shade(tone, 0.5)
        )
        if snowy:
            share = 0.4
            low = top + (horizon - top) * share
            canvas.polygon(
                [(place - half * share, low), (place, top), (place + half * share, low)],
                (250, 250, 253),
                shade(tone, 0.5),
            )
    canvas.rectangle((0, horizon, 64, 64), ground)
    if not snowy:
        for _ in range(3):
            x, y = rng.uniform(14, 50), rng.uniform(horizon + 1, 50)
            canvas.ellipse((x, y), (3.4, 3.4), colour(0.33, 0.65, 0.35), colour(0.33, 0.6, 0.18))


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
        for start, end in zip(corners, corners[1:], strict=False):
            canvas.capsule(start, end, 0.7, dark)
