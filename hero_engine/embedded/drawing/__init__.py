"""Draws 64x64 pictures of six tasks with captions.

A little more than half of the pictures have the task's prompt or a paraphrase as their caption
(`Subject.family`); about one in three of those succeeds. The others have a caption that names what
they show (`Subject.honest`). A model trained on them often fails on the prompt, as Stable Diffusion
does on hands, but can draw a success.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hero_engine.embedded.drawing import cat, hands, mountain, narcissus, rose, safety
from hero_engine.embedded.drawing.sheet import Drawing, contact_sheet
from hero_engine.embedded.drawing.subject import Subject

SUBJECTS: dict[str, Subject] = {
    "hands": hands.SUBJECT,
    "blue-rose": rose.SUBJECT,
    "black-cat": cat.SUBJECT,
    "narcissus": narcissus.SUBJECT,
    "mountain": mountain.SUBJECT,
    "safety": safety.SUBJECT,
}
TASKS: tuple[str, ...] = tuple(SUBJECTS)
ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    name: dict(subject.values) for name, subject in SUBJECTS.items()
}
"""Task -> attribute -> its possible values, in the order of a judge's outputs."""

__all__ = ["ATTRIBUTES", "SUBJECTS", "TASKS", "Drawing", "contact_sheet", "draw", "is_success"]


def is_success(task: str, attributes: Mapping[str, str]) -> bool:
    """True if a picture with these attributes is a success in the task.

    ValueError for an unknown task, attribute or value, or a missing attribute.
    """
    _check(task, attributes)
    if missing := [name for name in ATTRIBUTES[task] if name not in attributes]:
        raise ValueError(f"{task} also needs the attribute {missing[0]!r}")
    return SUBJECTS[task].succeeds(attributes)


def draw(
    task: str, rng: np.random.Generator, attributes: Mapping[str, str] | None = None
) -> Drawing:
    """Draw one picture of a task; the same generator state gives the same picture.

    attributes: values to fix; the others are drawn, and the caption names what is shown. ValueError
    for an unknown task, attribute or value.
    """
    fixed = dict(attributes or {})
    _check(task, fixed)
    subject = SUBJECTS[task]
    caption, shown, look = subject.cast(rng, fixed)
    image = subject.paint(rng, {**shown, **look}).finished()
    return Drawing(image, caption, task, shown, subject.succeeds(shown))


def _check(task: str, attributes: Mapping[str, str]) -> None:
    if task not in SUBJECTS:
        raise ValueError(f"unknown task {task!r}; tasks: {', '.join(SUBJECTS)}")
    for name, value in attributes.items():
        if value not in ATTRIBUTES[task].get(name, ()):
            raise ValueError(f"{task} has no {name}={value!r}; it has {ATTRIBUTES[task]}")
