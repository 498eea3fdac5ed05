"""The custom judge that `--labels` and `--judge` name, and how its scores become labels.

    python:MODULE:FUNCTION              a function: paths and prompts in, scores or labels out
    command:./score.sh --fast           a program: JSON lines in, JSON lines out
    python,top=0.25:MODULE:FUNCTION     options follow the kind, joined by commas

Options: threshold=X (a picture with a score of at least X is good; 0.5), top=SHARE (instead: this
share of each prompt's pictures, those with the highest scores, is good), seconds=S (time limit of a
round; 600).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from hero_engine.core.errors import HeroError, short
from hero_engine.core.sanitize import sanitized

Kind = Literal["python", "command"]
KINDS: Mapping[str, Kind] = {"python": "python", "command": "command"}
LONGEST_SECONDS = 86_400.0
HOW = (
    "write python:MODULE:FUNCTION or command:PROGRAM; options follow the kind: "
    "python,top=0.25:MODULE:FUNCTION (threshold=X, top=SHARE, seconds=S)"
)


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict on a picture: a score or a label; both None without a verdict."""

    score: float | None = None
    label: bool | None = None


@dataclass(frozen=True)
class JudgeSource:
    """A custom judge.

    name: as it was typed; the source of its labels. what: "MODULE:FUNCTION", or a command line.
    threshold, top, seconds: see the options above; top is 0 where it was not given.
    """

    name: str
    kind: Kind
    what: str
    threshold: float = 0.5
    top: float = 0.0
    seconds: float = 600.0

    @property
    def command(self) -> list[str]:
        """The words of a command line."""
        return shlex.split(self.what)

    def labels(self, verdicts: Sequence[Verdict], groups: Sequence[int]) -> tuple[bool | None, ...]:
        """Each picture's label; None without a verdict. groups: of their prompts."""
        good = self._top(verdicts, groups) if self.top else self._above(verdicts)
        return tuple(
            each.label if each.score is None else image in good
            for image, each in enumerate(verdicts)
        )

    def _above(self, verdicts: Sequence[Verdict]) -> set[int]:
        scores = enumerate(each.score for each in verdicts)
        return {image for image, score in scores if score is not None and score >= self.threshold}

    def _top(self, verdicts: Sequence[Verdict], groups: Sequence[int]) -> set[int]:
        good = set[int]()
        for group in {*groups}:
            known = {
                image: each.score
                for image, each in enumerate(verdicts)
                if groups[image] == group and each.score is not None
            }
            ranked = sorted(known, key=lambda image: (-known[image], image))
            good |= {*ranked[: max(1, round(self.top * len(ranked)))]}
        return good


def bests(
    verdicts: Sequence[Verdict], labels: Sequence[bool | None], groups: Sequence[int]
) -> tuple[int, ...]:
    """Each prompt's good picture with the highest score; none if there are only labels."""
    found = []
    for group in sorted({*groups}):
        scores = {
            image: each.score
            for image, each in enumerate(verdicts)
            if groups[image] == group and labels[image] and each.score is not None
        }
        if scores:
            found.append(max(scores, key=lambda image: (scores[image], -image)))
    return tuple(found)


def is_own_judge(source: str) -> bool:
    """Whether a value of --labels names a custom judge."""
    return source.partition(":")[0].partition(",")[0] in KINDS and ":" in source


def read_judge_source(text: str) -> JudgeSource:
    """The judge that a text names. HeroError if it names none."""
    head, _, what = text.partition(":")
    name, *parts = head.split(",")
    kind = KINDS.get(name)
    if kind is None or not what.strip() or sanitized(text) != text:
        raise HeroError(f"a judge is {short(text)}; {HOW}")
    options = dict(_option(text, part) for part in parts)
    source = JudgeSource(text, kind, what.strip(), **options)
    module, _, function = source.what.partition(":")
    if kind == "python" and not (module and function and ":" not in function):
        raise HeroError(f"a judge is {short(text)}; {HOW}")
    if kind == "command":
        _words(source)
    return source


def _words(source: JudgeSource) -> list[str]:
    try:
        return source.command
    except ValueError as error:
        raise HeroError(f"the command of {short(source.name)}: {error}") from error


def _option(text: str, part: str) -> tuple[str, float]:
    name, _, value = part.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    ranges = {
        "threshold": isfinite(number),
        "top": 0 < number < 1,
        "seconds": 0 < number <= LONGEST_SECONDS,
    }
    if not ranges.get(name, False):
        raise HeroError(f"a judge is {short(text)}: the option {short(part)} is wrong; {HOW}")
    return name, number
