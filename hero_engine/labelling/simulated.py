"""Models of an annotator: how simulated labels differ from the judge's.

`judge:flip=0.1` gets a tenth of its labels wrong. `judge:lazy=5` marks at most 5 goods a page and
labels the others bad (Enter in the app). `judge:hurried=5` marks at most 5 as well, but leaves the
rest of such a page unlabelled (Ctrl+L). `judge:picky=green` wants green mountains where the task
accepts snowy ones too. They are joined by commas: `judge:picky=green,flip=0.05`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hero_engine.core.errors import HeroError

if TYPE_CHECKING:
    from hero_engine.config.tasks import Task

JUDGE = "judge"
PAGE = 32
"""Pictures on a full page of the app."""
MOST = {"lazy", "hurried"}
"""Parts that limit the goods of a page; a model has at most one of them."""


@dataclass(frozen=True)
class AnnotatorModel:
    """By default labels are the judge's.

    flip: probability that a label is flipped, 0 to below 0.5. lazy: most goods a page, the first
    ones in reading order, the others bad; 0: no limit. hurried: the same, but the other pictures of
    a page with more goods stay unlabelled; not together with lazy. picky: a value of one of the
    subject's attributes that good pictures must also have.
    """

    flip: float = 0.0
    lazy: int = 0
    hurried: int = 0
    picky: str = ""

    @property
    def name(self) -> str:
        """As `read_annotator_model` reads it: "judge", or "judge:flip=0.1"."""
        given = [(f.name, getattr(self, f.name)) for f in fields(self)]
        said = ",".join(f"{name}={value}" for name, value in given if value)
        return f"{JUDGE}:{said}" if said else JUDGE

    def wanted(self, task: Task) -> Mapping[str, str]:
        """The attributes a good picture must have. HeroError for a value that no picture has."""
        from hero_engine.embedded.drawing import ATTRIBUTES

        wanted = criterion(task)
        if not self.picky:
            return wanted
        values = ATTRIBUTES[str(task.judge)]
        optional = {v: name for name in values if name not in wanted for v in values[name]}
        if self.picky not in optional:
            known = ", ".join(sorted(optional)) or "nothing"
            raise HeroError(f"picky={self.picky}: choices for {task.name!r} are: {known}")
        return {**wanted, optional[self.picky]: self.picky}

    def labels(
        self, good: Sequence[bool], images: Sequence[int], seed: int, round: int
    ) -> list[bool | None]:
        """Each picture's label: the page limits first, then flips.

        A picture's flip is drawn from (seed, round, index) alone.
        """
        labels: list[bool | None] = list(good)
        most = self.lazy or self.hurried or PAGE
        for first in range(0, len(labels), PAGE):
            page = range(first, min(first + PAGE, len(labels)))
            goods = [place for place in page if good[place]]
            if len(goods) > most:
                for place in page:
                    labels[place] = place in goods[:most] or (None if self.hurried else False)
        if self.flip:
            labels = [
                label if label is None else label ^ self._flipped(seed, round, image)
                for label, image in zip(labels, images, strict=True)
            ]
        return labels

    def _flipped(self, seed: int, round: int, image: int) -> bool:
        import torch

        from hero_engine.core.rng import generator

        return float(torch.rand(1, generator=generator(seed, "label", round, image))) < self.flip


def is_judge(source: str) -> bool:
    """Whether the value of --labels means the judge, and not a file."""
    return source == JUDGE or source.startswith(f"{JUDGE}:")


def read_annotator_model(source: str) -> AnnotatorModel:
    """The model that a name gives: "judge", "judge:lazy=5". HeroError for an unknown part."""
    given: dict[str, float | int | str] = {}
    for part in source.removeprefix(JUDGE).removeprefix(":").split(","):
        name, _, value = part.partition("=")
        try:
            if name == "flip" and 0 < float(value) < 0.5:
                given["flip"] = float(value)
            elif name in MOST and int(value) > 0 and not MOST & given.keys():
                given[name] = int(value)
            elif name == "picky" and value:
                given["picky"] = value
            elif source != JUDGE:
                raise ValueError
        except ValueError:
            raise HeroError(
                f"labels from {source!r}: a judge takes flip=0.1 (below 0.5), lazy=5 or "
                "hurried=5, and picky=green, joined by commas"
            ) from None
    return AnnotatorModel(**given)  # type: ignore[arg-type]


def criterion(task: Task) -> Mapping[str, str]:
    """The attributes that success in a judged task requires: its own, or its subject's.

    HeroError if no picture can have them.
    """
    from hero_engine.embedded.drawing import ATTRIBUTES, SUBJECTS

    known = ATTRIBUTES.get(str(task.judge))
    if known is None:
        raise HeroError(
            f"no judge knows the task {task.judge!r}; judged tasks: {', '.join(ATTRIBUTES)}"
        )
    for name, value in task.wanted.items():
        if value not in known.get(name, ()):
            raise HeroError(f"{task.name}: no {task.judge} has {name} = {value!r}; known: {known}")
    return task.wanted or SUBJECTS[str(task.judge)].wanted
