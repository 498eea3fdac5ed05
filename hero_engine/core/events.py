"""What crosses the thread boundary: commands to the engine, events from it.

Only ids, paths and numbers cross it, never tensors. Every event is one JSON object with its name
under "event"; the same lines make events.jsonl and the output of a headless run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

PHASES = ("sampling", "labelling", "training", "done")
"""A round goes through these in order; a crash in any of them resumes there."""


@dataclass(frozen=True)
class SubmitLabels:
    """The labels of this round are in the journal, and the journal has it as submitted."""

    round: int


@dataclass(frozen=True)
class Stop:
    """Stop at the next safe point; the run stays resumable."""


Command = SubmitLabels | Stop


class JsonEvent:
    """Gives an event its JSON form."""

    event: ClassVar[str]

    def to_json(self) -> str:
        """One line of JSON, "event" first."""
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return json.dumps({"event": self.event, **values})


@dataclass(frozen=True)
class RunOpened(JsonEvent):
    """The engine has opened the run and its model; ``round`` is the one it goes on with."""

    event: ClassVar[str] = "opened"
    run: str
    task: str
    prompt: str
    success: str
    model: str
    update: str
    preset: str
    batch: int
    budget: int
    labels_used: int
    round: int


@dataclass(frozen=True)
class PhaseStarted(JsonEvent):
    """A round entered a phase (one of ``PHASES``)."""

    event: ClassVar[str] = "phase"
    round: int
    phase: str


@dataclass(frozen=True)
class Progress(JsonEvent):
    """How far a step is: "sample" in pictures, "embed" in epochs, "update" in optimizer steps.

    ``seconds_left`` is None as long as nothing can be estimated.
    """

    event: ClassVar[str] = "progress"
    round: int
    phase: str
    step: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class ImagesReady(JsonEvent):
    """These pictures of the round are on the disk; ``paths`` are absolute, one an index."""

    event: ClassVar[str] = "images"
    round: int
    indices: tuple[int, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class RoundFinished(JsonEvent):
    """A round is done and in a checkpoint.

    ``labels`` were given in this round and ``labels_total`` in the run so far; ``seconds`` are
    those of "sample", "embed" and "update"; ``note`` says in words what was unusual.
    """

    event: ClassVar[str] = "round"
    round: int
    labels: int
    good: int
    unlabelled: int
    labels_total: int
    reward_mean: float | None
    reward_std: float | None
    updated: bool
    note: str
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def good_share(self) -> float | None:
        """Goods among the labelled, in [0, 1].

        None where nothing is labelled, and where most pictures are not and all labels are alike:
        then it would say which ones were labelled, not how many are good.
        """
        alike = self.good in (0, self.labels)
        if not self.labels or (alike and self.labels < self.unlabelled):
            return None
        return self.good / self.labels


@dataclass(frozen=True)
class Notice(JsonEvent):
    """Something went wrong and was mended: one line that says what, and what is done about it."""

    event: ClassVar[str] = "notice"
    message: str


@dataclass(frozen=True)
class Finished(JsonEvent):
    """The engine has ended.

    ``reason``: "budget" (used) or "rounds" (done as asked) at the run's end; before it "stopped",
    or "labels" (waits for those of a round to come from elsewhere).
    """

    event: ClassVar[str] = "finished"
    run: str
    rounds: int
    labels: int
    reason: str
    note: str = ""


@dataclass(frozen=True)
class Failed(JsonEvent):
    """The engine has ended with an error, told in one line."""

    event: ClassVar[str] = "failed"
    message: str
    exit_code: int


Event = (
    RunOpened | PhaseStarted | Progress | ImagesReady | RoundFinished | Notice | Finished | Failed
)
EVENTS: tuple[type[JsonEvent], ...] = (
    RunOpened,
    PhaseStarted,
    Progress,
    ImagesReady,
    RoundFinished,
    Notice,
    Finished,
    Failed,
)


def from_json(line: str) -> Event:
    """The event that ``to_json`` wrote. ValueError for a line that is none."""
    values: Any = json.loads(line)
    if not isinstance(values, Mapping):
        raise ValueError("an event is a JSON object")
    kind = next((each for each in EVENTS if each.event == values.get("event")), None)
    if kind is None:
        raise ValueError(f"unknown event {values.get('event')!r}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "event"}
    try:
        return kind(**fields)  # type: ignore[return-value]
    except TypeError as error:
        raise ValueError(f"not the fields of {kind.event!r}: {error}") from error
