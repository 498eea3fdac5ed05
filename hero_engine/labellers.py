"""Where labels come from: a person, a judge, or a recorded file. All of them end in the journal."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hero_engine.errors import HeroError, StopRequested
from hero_engine.journal import Journal, Mark
from hero_engine.protocol import Command, Stop
from hero_engine.tasks import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Pictures = Mapping[int, Path]
"""A round's PNG files by index."""


class Labeller(Protocol):
    """Labels rounds."""

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Return when the round's labels are in the journal and submitted; StopRequested ends."""
        ...


class QueueLabeller:
    """A person: the app writes marks into the journal itself, and sends SubmitLabels when done."""

    def __init__(self, inbox: queue.SimpleQueue[Command]) -> None:
        self._inbox = inbox

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Wait for the round to be submitted; commands for other rounds are old."""
        while not journal.submitted(round):
            command = self._inbox.get()
            if isinstance(command, Stop):
                raise StopRequested
            if command.round == round:
                journal.submit(round)


class JudgeLabeller:
    """The embedded judge: good is what it reads as a success, best the likeliest of those."""

    def __init__(self, task: Task) -> None:
        from hero_engine.embedded.judge import Judge

        self._task = judged(task)
        self._judge = Judge.open("labeller")

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Label all pictures in one step."""
        images = read_pictures(pictures)
        good = self._judge.success(self._task, images)
        chances = self._judge.success_probability(self._task, images)
        marks = [Mark(i, "good" if ok else "bad") for i, ok in zip(pictures, good, strict=True)]
        goods = {i: chance for i, ok, chance in zip(pictures, good, chances, strict=True) if ok}
        if goods:
            marks.append(Mark(max(goods, key=goods.__getitem__), "best"))
        journal.mark(round, marks, source="judge")
        journal.submit(round)


def judged(task: Task) -> str:
    """The name the judges know the task by. HeroError where they do not."""
    if task.judge is None:
        raise HeroError(
            f"no judge knows the task {task.name!r}: give its labels with --labels FILE.jsonl"
        )
    return task.judge


def read_pictures(pictures: Pictures) -> npt.NDArray[np.uint8]:
    """The files as one uint8 array (B, H, W, 3)."""
    import numpy as np
    from PIL import Image

    rows = []
    for path in pictures.values():
        with Image.open(path, formats=["PNG"]) as picture:
            rows.append(np.asarray(picture.convert("RGB")))
    return np.stack(rows)


@dataclass(frozen=True)
class Row:
    """A line of a labels file."""

    line: int
    round: int
    image: int
    good: bool
    best: bool


class FileLabeller:
    """A file of JSON lines: {"round": 0, "image": 3, "label": "good" | "bad", "best": true}.

    Pictures without a line stay unlabelled. A round without any line stops the run, resumable.
    HeroError, with the line's number, where the file is wrong.
    """

    def __init__(self, path: Path, batch: int) -> None:
        self._path = path
        self._rounds = read_labels(path, batch)

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Write the round's lines into the journal in one step, in the order of the file."""
        if round not in self._rounds:
            raise StopRequested(f"{self._path} has no labels for round {round}")
        rows = self._rounds[round]
        marks = [Mark(row.image, "good" if row.good else "bad") for row in rows]
        marks += [Mark(row.image, "best") for row in rows if row.best]
        journal.mark(round, marks, source=self._path.name)
        journal.submit(round)


def read_labels(path: Path, batch: int) -> dict[int, list[Row]]:
    """A labels file by round, checked."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HeroError(f"cannot read the labels file {path}: {reason}") from error
    rounds: dict[int, list[Row]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = _row(number, line, batch)
                _check_against(row, rounds.setdefault(row.round, []))
            except ValueError as error:
                raise HeroError(f"{path}, line {number}: {error}") from error
            rounds[row.round].append(row)
    return rounds


def _row(number: int, line: str, batch: int) -> Row:
    """ValueError that says what is wrong with the line."""
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError('expected an object such as {"round": 0, "image": 3, "label": "good"}')
    if unknown := sorted(values.keys() - {"round", "image", "label", "best"}):
        raise ValueError(f"unknown key {unknown[0]!r}; known are round, image, label, best")
    label, best = values.get("label"), values.get("best", False)
    if label not in ("good", "bad"):
        raise ValueError(f'"label" is {label!r}; it must be "good" or "bad"')
    if not isinstance(best, bool) or (best and label == "bad"):
        raise ValueError('"best" must be true or false, and true only for a good picture')
    image = _number(values, "image")
    if image >= batch:
        raise ValueError(f'"image" is {image}; a round has pictures 0 to {batch - 1}')
    return Row(number, _number(values, "round"), image, label == "good", best)


def _number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f'"{name}" is {value!r}; it must be a whole number from 0 on')
    return value


def _check_against(row: Row, earlier: list[Row]) -> None:
    for other in earlier:
        if other.image == row.image:
            raise ValueError(f"picture {row.image} has a label already, in line {other.line}")
        if other.best and row.best:
            raise ValueError(f"round {row.round} has a best already, in line {other.line}")
