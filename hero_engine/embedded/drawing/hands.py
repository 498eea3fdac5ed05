"""Hands: five fingers and nothing wrong is a success."""

from __future__ import annotations

import numpy as np

from hero_engine.embedded.drawing.canvas import Canvas, Colour, Point, colour, pastel, polar, shade
from hero_engine.embedded.drawing.subject import Attributes, Subject

KINDS = ("normal", "count3", "count4", "count6", "count7", "detached", "fused", "short")
FINGERS = {"count3": 2, "count4": 3, "count6": 5, "count7": 6}
"""Fingers besides the thumb, where there are not four."""
SPACING = {2: 29.0, 3: 25.0, 4: 23.0, 5: 21.5, 6: 20.0}
"""Degrees between neighbouring fingers."""
ROOTS = {2: 3.5, 3: 2.6, 4: 2.2, 5: 2.0, 6: 1.8}
"""Pixels between neighbouring fingers' roots: together with the angle, this opens the gaps."""
RADIUS = {2: 2.8, 3: 2.6, 4: 2.3, 5: 1.9, 6: 1.6}
"""Half the width of a finger in pixels: thinner where there are many, so that gaps stay open."""
PALM = 9.5
SKINS = {
    "pale": ((255, 224, 190), (250, 210, 170)),
    "tan": ((240, 185, 130), (225, 165, 105)),
    "brown": ((204, 140, 90), (188, 126, 82)),
    "dark": ((166, 108, 74), (152, 100, 70)),
    "yellow": ((255, 212, 80), (250, 200, 90)),
}
GROUNDS = {"green": (0.33, 0.42), "blue": (0.53, 0.62), "purple": (0.7, 0.78)}
"""Hues of the backgrounds; none is near a skin's."""

FAMILY = ("1 hand", "a hand", "one hand", "photo of a hand", "a hand on a plain background")
WHAT = {
    "normal": ("five fingers", "all five fingers", "exactly five fingers"),
    "count3": ("three fingers", "only three fingers"),
    "count4": ("four fingers", "only four fingers"),
    "count6": ("six fingers", "too many fingers, six"),
    "count7": ("seven fingers", "too many fingers, seven"),
    "detached": ("a detached finger", "one detached finger"),
    "fused": ("two fused fingers", "fused fingers"),
    "short": ("one short finger", "a short finger"),
}
ADJECTIVES = dict.fromkeys(KINDS, ("deformed",)) | {"normal": ("normal", "healthy", "complete")}
NAMED = (
    "a hand with {fingers}",
    "a {adjective} hand with {fingers}",
    "a {adjective} hand with {fingers}",
    "photo of a hand with {fingers}",
    "one hand that has {fingers}",
    "a {skin} hand with {fingers}",
    "a {adjective} {skin} hand with {fingers}",
    "a hand with {fingers} on a {ground} background",
    "a {skin} hand with {fingers} on a {ground} background",
    "a picture of a {adjective} hand with {fingers}",
)


def paint(rng: np.random.Generator, shown: Attributes) -> Canvas:
    """A hand of the given kind."""
    canvas = pastel(rng, GROUNDS[shown["ground"]])
    tones = SKINS[shown["skin"]]
    skin = shade(tones[int(rng.integers(len(tones)))], rng.uniform(0.96, 1.03))
    cuff = colour(rng.random(), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.85))
    tilt, side = rng.uniform(-10, 10), 1.0 if rng.random() < 0.5 else -1.0
    fingers = finger_strokes(rng, shown["kind"], tilt, side)
    centre = placed(rng, fingers)
    paint_hand(canvas, centre, tilt, moved(fingers, centre), (skin, cuff))
    return canvas


Stroke = tuple[Point, Point, float]
"""Start, end and half-width of a finger."""


def finger_strokes(rng: np.random.Generator, kind: str, tilt: float, side: float) -> list[Stroke]:
    """The fingers of a hand of this kind around a palm at (0, 0); the thumb is last."""
    count = FINGERS.get(kind, 4)
    lean, spread = tilt - 4 * side, SPACING[count] * rng.uniform(0.98, 1.03)
    width = RADIUS[count] * rng.uniform(0.97, 1.05)
    rays = []
    for i in range(count):
        off = side * (i - (count - 1) / 2)
        root = polar((0.0, 0.0), lean + 90, off * ROOTS[count])
        length = 31.5 - 1.3 * abs(off) ** 1.5 + rng.uniform(-0.8, 0.8)
        rays.append((root, lean + off * spread, length))
    strokes = [(root, polar(root, angle, length), width) for root, angle, length in rays]
    harm(rng, kind, rays, strokes)
    thumb = lean + side * max(spread * (count - 1) / 2 + 36, 76) + rng.uniform(-2, 2)
    base = polar((0.0, 0.0), lean + side * 120, 3.5)
    return [*strokes, (base, polar(base, thumb, rng.uniform(21.5, 23)), width * 1.12)]


def harm(
    rng: np.random.Generator, kind: str, rays: list[tuple[Point, float, float]], out: list[Stroke]
) -> None:
    """Change one finger (two, to fuse them) of ``out`` as ``kind`` says; the others keep."""
    odd = int(rng.integers(len(rays) - (kind == "fused")))
    root, angle, length = rays[odd]
    width = out[odd][2]
    if kind == "short":
        out[odd] = (root, polar(root, angle, rng.uniform(12.5, 14.0)), width)
    if kind == "detached":
        out[odd] = (polar(root, angle, 20.0), polar(root, angle, length + 2.0), width)
    if kind == "fused":
        (end, other) = (out[odd][1], out[odd + 1][1])
        tip = ((end[0] + other[0]) / 2, (end[1] + other[1]) / 2)
        out[odd : odd + 2] = [((tip[0] * 0.1, tip[1] * 0.1), tip, width * 2.2)]


def placed(rng: np.random.Generator, fingers: list[Stroke]) -> Point:
    """Where the palm must be for the hand to fill the frame without leaving it."""
    across = [x + sign * r for _, (x, _), r in fingers for sign in (-1, 1)]
    top = min(y - r for _, (_, y), r in fingers)
    slack = max(0.0, 29 - (max(across) - min(across)) / 2 - Canvas.OUTLINE)
    jitter = rng.uniform(-1, 1) * min(slack, 3.0)
    return (32 - (max(across) + min(across)) / 2 + jitter, 6 - top + rng.uniform(-2, 1.5))


def moved(fingers: list[Stroke], to: Point) -> list[Stroke]:
    """The same fingers around a palm at ``to``."""
    x, y = to
    return [((a + x, b + y), (c + x, d + y), radius) for (a, b), (c, d), radius in fingers]


def paint_hand(
    canvas: Canvas,
    centre: Point,
    tilt: float,
    fingers: list[Stroke],
    tones: tuple[Colour, Colour],
) -> None:
    """Outline of everything first, then the skin over it: one closed contour; then the cuff."""
    skin, cuff = tones
    for grow, fill in ((Canvas.OUTLINE, shade(skin, 0.2)), (0.0, skin)):
        canvas.capsule(centre, polar(centre, tilt + 180, 17), 6.4 + grow, fill)
        canvas.ellipse(centre, (PALM + grow, PALM * 1.08 + grow), fill)
        for start, end, radius in fingers:
            canvas.capsule(start, end, radius + grow, fill)
    low = polar(centre, tilt + 180, 40)
    canvas.capsule(polar(centre, tilt + 180, 20.5), low, 8.4, shade(cuff, 0.4))
    canvas.capsule(polar(centre, tilt + 180, 21.2), low, 8.4 - Canvas.OUTLINE, cuff)


SUBJECT = Subject(
    values={"kind": KINDS},
    wanted={"kind": "normal"},
    family=FAMILY,
    family_odds={"kind": (0.38, *[0.62 / 7] * 7)},
    honest=NAMED,
    honest_odds={"kind": (0.4, *[0.6 / 7] * 7)},
    words={"fingers": WHAT, "adjective": ADJECTIVES},
    looks={"skin": tuple(SKINS), "ground": tuple(GROUNDS)},
    paint=paint,
)
