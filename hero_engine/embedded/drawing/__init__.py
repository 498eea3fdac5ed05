"""The drawer: 64x64 pictures of six tasks with captions, from Pillow and a random generator.

A little more than half of the pictures carry a caption of their task's *family* (its prompt or a
paraphrase) over a mixture in which about one in three succeeds; the others have an *honest*
caption that names what they show. So a model trained on them fails often on the prompt, as Stable
Diffusion does on hands, and yet knows what its failures are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from PIL import Image

from hero_engine.embedded.drawing import cat, hands, mountain, narcissus, rose, safety
from hero_engine.embedded.drawing.common import Attributes, Drawing, Look, contact_sheet

FAMILY_SHARE = 0.55


class _Subject(Protocol):
    """What each task's module offers."""

    @property
    def VALUES(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: N802
    def succeeds(self, attributes: Attributes) -> bool: ...
    def family(self, rng: np.random.Generator) -> tuple[str, dict[str, str]]: ...
    def honest(self, rng: np.random.Generator) -> dict[str, str]: ...
    def look(self, rng: np.random.Generator) -> Look: ...
    def describe(self, rng: np.random.Generator, attributes: Attributes, shown: Look) -> str: ...
    def draw(
        self, rng: np.random.Generator, attributes: Attributes, shown: Look
    ) -> Image.Image: ...


_SUBJECTS: dict[str, _Subject] = {
    "hands": hands,
    "blue-rose": rose,
    "black-cat": cat,
    "narcissus": narcissus,
    "mountain": mountain,
    "safety": safety,
}
TASKS: tuple[str, ...] = tuple(_SUBJECTS)
ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    name: dict(subject.VALUES) for name, subject in _SUBJECTS.items()
}
"""Task -> attribute -> its possible values, in the order of a judge's outputs."""

__all__ = ["ATTRIBUTES", "TASKS", "Drawing", "contact_sheet", "draw", "is_success"]


def is_success(task: str, attributes: Mapping[str, str]) -> bool:
    """Whether a picture with these attributes fulfils the criterion of ``task``.

    Raises ``ValueError`` for a task, an attribute or a value that does not exist, and where an
    attribute of the task is missing.
    """
    _check(task, attributes)
    if missing := [name for name in ATTRIBUTES[task] if name not in attributes]:
        raise ValueError(f"{task} also needs the attribute {missing[0]!r}")
    return _SUBJECTS[task].succeeds(attributes)


def draw(
    task: str, rng: np.random.Generator, attributes: Mapping[str, str] | None = None
) -> Drawing:
    """Draw one picture of ``task``; the same generator state gives the same picture.

    ``attributes`` fixes those it names and leaves the others to chance; the caption is then an
    honest one. Raises ``ValueError`` for a task, an attribute or a value that does not exist.
    """
    fixed = dict(attributes or {})
    _check(task, fixed)
    caption, shown, look = _cast(task, rng, fixed)
    subject = _SUBJECTS[task]
    return Drawing(subject.draw(rng, shown, look), caption, task, shown, subject.succeeds(shown))


def _cast(
    task: str, rng: np.random.Generator, fixed: dict[str, str]
) -> tuple[str, dict[str, str], Look]:
    """Caption, attributes and other named colours of a picture, before anything is drawn."""
    subject = _SUBJECTS[task]
    look = subject.look(rng)
    if not fixed and rng.random() < FAMILY_SHARE:
        return (*subject.family(rng), look)
    shown = {**subject.honest(rng), **fixed}
    return subject.describe(rng, shown, look), shown, look


def _check(task: str, attributes: Mapping[str, str]) -> None:
    if task not in _SUBJECTS:
        raise ValueError(f"unknown task {task!r}; tasks: {', '.join(_SUBJECTS)}")
    for name, value in attributes.items():
        if value not in ATTRIBUTES[task].get(name, ()):
            raise ValueError(f"{task} has no {name}={value!r}; it has {ATTRIBUTES[task]}")
