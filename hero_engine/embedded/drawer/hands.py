"""Hands: five fingers and nothing wrong is a success."""

from __future__ import annotations

import numpy as np

from hero_engine.embedded.drawer.common import (
    OUTLINE,
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
from PIL import Image

KINDS = ("normal", "count3", "count4", "count6", "count7", "detached", "fused", "short")
VALUES = {"kind": KINDS}
FINGERS = {"count3": 2, "count4": 3, "count6": 5, "count7": 6}
"""Fingers besides the thumb, where there are not four."""
SPACING = {2: 31.0, 3: 27.0, 4: 24.0, 5: 20.5, 6: 17.5}
"""Degrees between neighbouring fingers."""
RADIUS = {2: 2.9, 3: 2.8, 4: 2.6, 5: 2.3, 6: 2.0}
"""Half the width of a finger in pixels: thinner where there are many, so that gaps stay open."""
PALM = 9.5
SKINS = (
    (255, 220, 180),
    (250, 205, 160),
    (240, 185, 130),
    (225, 165, 105),
    (200, 135, 85),
    (170, 110, 70),
    (140, 90, 60),
    (255, 210, 80),
)

FAMILY = ("1 hand", "a hand", "one hand", "photo of a hand", "a hand on a plain background")
NAMED = {
    "normal": (
        "a hand with five fingers",
        "a normal hand with five fingers",
        "a normal hand",
        "a healthy hand with all five fingers",
        "a complete hand",
    ),
    "count3": ("a hand with three fingers", "a deformed hand with only three fingers"),
    "count4": ("a hand with four fingers", "a deformed hand with only four fingers"),
    "count6": ("a hand with six fingers", "a deformed hand with six fingers"),
    "count7": ("a hand with seven fingers", "a deformed hand with seven fingers"),
    "detached": ("a hand with a detached finger", "a deformed hand with one detached finger"),
    "fused": ("a hand with two fused fingers", "a deformed hand with fused fingers"),
    "short": ("a hand with one short finger", "a deformed hand with a short finger"),
}


def succeeds(attributes: Attributes) -> bool:
    """An undeformed hand."""
    return attributes["kind"] == "normal"


def family(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """A generic caption over a mixture of hands."""
    caption = FAMILY[0] if rng.random() < 0.5 else pick(rng, FAMILY)
    return caption, {"kind": pick(rng, KINDS, [0.38] + [0.62 / 7] * 7)}


def honest(rng: np.random.Generator) -> dict[str, str]:
    """Attributes for a caption that tells the truth."""
    return {"kind": pick(rng, KINDS, [0.4] + [0.6 / 7] * 7)}


def describe(rng: np.random.Generator, attributes: Attributes) -> str:
    """A true caption."""
    return pick(rng, NAMED[attributes["kind"]])


def draw(rng: np.random.Generator, attributes: Attributes) -> Image.Image:
    """A hand of the given kind."""
    canvas = pastel(rng)
    skin = SKINS[int(rng.integers(len(SKINS)))]
    skin = shade(skin, rng.uniform(0.93, 1.04))
    side = 1.0 if rng.random() < 0.5 else -1.0
    tilt = rng.uniform(-9, 9)
    centre = (32 - 3.5 * side + rng.uniform(-2, 2), 41.5 + rng.uniform(-1.5, 1.5))
    size = rng.uniform(0.94, 1.04)
    fingers = finger_strokes(rng, attributes["kind"], centre, tilt, side, size)
    cuff = colour(rng.random(), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.85))
    paint_hand(canvas, centre, tilt, size, fingers, skin, cuff)
    return canvas.finished()


Stroke = tuple[Point, Point, float]
"""Start, end and half-width of a finger."""


def finger_strokes(
    rng: np.random.Generator, kind: str, centre: Point, tilt: float, side: float, size: float
) -> list[Stroke]:
    """The fingers of a hand of this kind; the thumb is last."""
    count = FINGERS.get(kind, 4)
    middle = (count - 1) / 2
    spread = SPACING[count] * rng.uniform(0.97, 1.04)
    lean = tilt - 5 * side
    angles = [lean + side * spread * (i - middle) for i in range(count)]
    lengths = [
        size * (30.5 - 1.1 * abs(i - middle) ** 1.5 + rng.uniform(-0.8, 0.8)) for i in range(count)
    ]
    width = RADIUS[count] * rng.uniform(0.95, 1.08)
    strokes = [(centre, polar(centre, a, r), width) for a, r in zip(angles, lengths, strict=True)]
    odd = int(rng.integers(count))
    if kind == "short":
        strokes[odd] = (centre, polar(centre, angles[odd], size * rng.uniform(14.5, 16.0)), width)
    if kind == "detached":
        start = polar(centre, angles[odd], size * rng.uniform(19.0, 20.0))
        strokes[odd] = (start, polar(centre, angles[odd], lengths[odd] + 1.2), width)
    if kind == "fused":
        odd = int(rng.integers(count - 1))
        between = (angles[odd] + angles[odd + 1]) / 2
        end = polar(centre, between, max(lengths[odd : odd + 2]) - 2.5)
        root = polar(centre, between, 4)
        strokes[odd : odd + 2] = [(root, end, width * 2.1)]
    thumb = lean + side * (max(spread * middle + 38, 74) + rng.uniform(-3, 3))
    base = polar(centre, lean + side * 120, 3.5)
    strokes.append((base, polar(base, thumb, size * rng.uniform(22.5, 24)), width * 1.12))
    return strokes


def paint_hand(
    canvas: Canvas,
    centre: Point,
    tilt: float,
    size: float,
    fingers: list[Stroke],
    skin: Colour,
    cuff: Colour,
) -> None:
    """Outline of everything first, then the skin over it: one closed contour."""
    outline = shade(skin, 0.22)
    wrist = polar(centre, tilt + 180, 19)
    palm = (PALM * size, PALM * size * 1.08)
    for grow, fill in ((OUTLINE, outline), (0.0, skin)):
        canvas.capsule(centre, wrist, 6.2 * size + grow, fill)
        canvas.ellipse(centre, (palm[0] + grow, palm[1] + grow), fill)
        for start, end, radius in fingers:
            canvas.capsule(start, end, radius + grow, fill)
    ends = polar(centre, tilt + 180, 17.5), polar(centre, tilt + 180, 34)
    canvas.capsule(ends[0], ends[1], 8.2 * size, shade(cuff, 0.4))
    canvas.capsule(polar(centre, tilt + 180, 18.2), ends[1], 8.2 * size - OUTLINE, cuff)
