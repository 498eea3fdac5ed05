"""Where labels come from: a person (through the app), a judge, or a recorded file.

Every labeller writes marks into the journal and submits the round; the loop reads the journal. So
all labels are durable before they are used, and it is on record who gave them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from hero_engine.errors import HeroError
from hero_engine.journal import Journal, Mark

if TYPE_CHECKING:
    from hero_engine.embedded.judge import Judge

Pictures = Mapping[int, Path]
"""A round's pictures by index, as PNG files."""


class Labeller(Protocol):
    """Labels one round."""

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Return when the round's labels are in the journal and submitted."""
        ...


class PersonLabeller:
    """Waits until the person has submitted the round; the app writes the marks itself."""

    def __init__(self, wait: Callable[[int], None]) -> None:
        self._wait = wait

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Wait for the round's ``SubmitLabels``; ``StopRequested`` comes out of the waiting."""
        self._wait(round)


class JudgeLabeller:
    """The embedded labeller judge: good where it sees success, best where it is surest."""

    def __init__(self, task: str, judge: Judge) -> None:
        self.task, self.judge = task, judge

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Judge every picture and submit."""
        pixels = read_pictures(pictures)
        good = self.judge.success(self.task, pixels)
        sureness = self.judge.success_probability(self.task, pixels)
        rows = zip(pictures, good, strict=True)
        marks = [Mark(image, "good" if yes else "bad") for image, yes in rows]
        if good.any():
            surest = int(np.argmax(np.where(good, sureness, -1.0)))
            marks.append(Mark(list(pictures)[surest], "best"))
        journal.mark(round, marks, source="judge", kind="commit")
        journal.submit(round)


class FileLabeller:
    """Recorded labels: JSON lines such as {"round": 0, "image": 3, "label": "good", "best": true}.

    Pictures without a line stay unlabelled. A line's ``best`` names the round's best.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rounds = read_labels(path)

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Write the round's recorded labels and submit. HeroError where the file has none."""
        if round not in self.rounds:
            raise HeroError(f"{self.path} has no labels for round {round}")
        marks = [mark for mark in self.rounds[round] if mark.image in pictures]
        if len(marks) < len(self.rounds[round]):
            last = max(pictures, default=-1)
            raise HeroError(f"{self.path}: round {round} has pictures 0 to {last} only")
        journal.mark(round, marks, source=self.path.name, kind="commit")
        journal.submit(round)


def read_pictures(pictures: Pictures) -> npt.NDArray[np.uint8]:
    """The pictures as uint8, (B, H, W, 3), in the order of the mapping."""
    from PIL import Image

    rows = []
    for path in pictures.values():
        with Image.open(path, formats=["PNG"]) as image:
            rows.append(np.asarray(image.convert("RGB")))
    return np.stack(rows)


def read_labels(path: Path) -> dict[int, list[Mark]]:
    """Round -> marks of a label file. HeroError that names file, line and what is wrong there."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HeroError(f"cannot read the labels {path}: {error}") from error
    rounds: dict[int, list[Mark]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            round, marks = _read_line(f"{path}, line {number}", line)
            rounds.setdefault(round, []).extend(marks)
    return rounds


def _read_line(where: str, line: str) -> tuple[int, list[Mark]]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise HeroError(f"{where}: not JSON ({error})") from error
    if (
        not isinstance(row, dict)
        or not _is_index(row.get("round"))
        or not _is_index(row.get("image"))
    ):
        raise HeroError(f'{where}: needs "round" and "image", whole numbers from 0')
    if row.get("label") not in ("good", "bad"):
        raise HeroError(f'{where}: "label" is {row.get("label")!r}; it is "good" or "bad"')
    if row.get("best") and row["label"] == "bad":
        raise HeroError(f"{where}: the best picture cannot be bad")
    marks = [Mark(row["image"], row["label"])]
    if row.get("best"):
        marks.append(Mark(row["image"], "best"))
    return row["round"], marks


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
