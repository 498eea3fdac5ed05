"""The drawer: 64x64 pictures of six tasks with captions, from Pillow and a random generator.

A little more than half of the pictures carry a caption of their task's *family* (its prompt or a
paraphrase) over a mixture in which about one in three succeeds; the others have an *honest*
caption that names what they show. So a model trained on them fails often on the prompt, as Stable
Diffusion does on hands, and yet knows what its failures are called.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hero_engine.embedded.drawer import cat, hands, mountain, narcissus, rose, safety
from hero_engine.embedded.drawer.common import Drawing, contact_sheet

FAMILY_SHARE = 0.55
_ROOMS = {
    "hands": hands,
    "blue-rose": rose,
    "black-cat": cat,
    "narcissus": narcissus,
    "mountain": mountain,
    "safety": safety,
}
TASKS: tuple[str, ...] = tuple(_ROOMS)
ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    name: dict(room.VALUES) for name, room in _ROOMS.items()
}
"""Task -> attribute -> its possible values, in the order of a judge's outputs."""

__all__ = ["ATTRIBUTES", "TASKS", "Drawing", "contact_sheet", "draw", "is_success"]


def is_success(task: str, attributes: Mapping[str, str]) -> bool:
    """Whether a picture with these attributes fulfils the criterion of ``task``."""
    _check(task, attributes)
    return _ROOMS[task].succeeds(attributes)


def draw(
    task: str, rng: np.random.Generator, attributes: Mapping[str, str] | None = None
) -> Drawing:
    """Draw one picture of ``task``; the same generator state gives the same picture.

    ``attributes`` fixes those it names, and the caption is then honest. Raises ``ValueError`` for
    a task, an attribute or a value that does not exist.
    """
    _check(task, attributes or {})
    room = _ROOMS[task]
    if attributes is None and rng.random() < FAMILY_SHARE:
        caption, shown = room.family(rng)
    else:
        shown = {**room.honest(rng), **(attributes or {})}
        caption = room.describe(rng, shown)
    return Drawing(room.draw(rng, shown), caption, task, shown, room.succeeds(shown))


def _check(task: str, attributes: Mapping[str, str]) -> None:
    if task not in _ROOMS:
        raise ValueError(f"unknown task {task!r}; tasks: {', '.join(_ROOMS)}")
    for name, value in attributes.items():
        if value not in ATTRIBUTES[task].get(name, ()):
            raise ValueError(f"{task} has no attribute {name}={value!r}; it has {ATTRIBUTES[task]}")
