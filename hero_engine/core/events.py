"""Commands to the engine, and events from it.

Only ids, paths and numbers cross the thread boundary, never tensors. An event is one JSON object
with its name under "event"; these lines are events.jsonl and the output of a headless run.
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
    """The labels of this round are in the journal, and the round is submitted there."""

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
    """The engine has opened the run and its model; it continues with `round`.

    prompts, prompt_starts, prompts_mixed: of a run with several prompts, as in its settings. sizes:
    "768x512", input_pictures: paths, of a run with several.
    """

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
    prompts: tuple[str, ...] = ()
    prompt_starts: tuple[int, ...] = ()
    prompts_mixed: bool = False
    sizes: tuple[str, ...] = ()
    input_pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preflight(JsonEvent):
    """What a new run will need.

    parameters: of the network. memory_needed: bytes at the peak of a round, with one row a pass.
    memory_there: bytes of the GPU; None if there is none. images: of a round. round_seconds: of
    drawing and learning.
    """

    event: ClassVar[str] = "preflight"
    parameters: int
    memory_needed: int
    memory_there: int | None
    seconds_per_image: float
    images: int
    rounds: int
    round_seconds: float


@dataclass(frozen=True)
class PhaseStarted(JsonEvent):
    """A round entered a phase (one of `PHASES`)."""

    event: ClassVar[str] = "phase"
    round: int
    phase: str


@dataclass(frozen=True)
class Progress(JsonEvent):
    """Progress of a step: "sample" and "self_train" in pictures, "embed" in epochs, "update" in
    optimizer steps.

    seconds_left: None as long as nothing can be estimated.
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
    """These pictures of the round are on the disk. paths: absolute, one for each index."""

    event: ClassVar[str] = "images"
    round: int
    indices: tuple[int, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class FixedNoiseReady(JsonEvent):
    """The fixed-noise samples of the weights that this round begins with are on the disk."""

    event: ClassVar[str] = "fixed_noise"
    round: int


@dataclass(frozen=True)
class RoundFinished(JsonEvent):
    """A round is done and in a checkpoint.

    labels: given in this round; labels_total: in the run so far. seconds: of the steps "sample",
    "embed" and "update". note: what was unusual, in words. prompts: in a run with several, each
    prompt of the round with its "group", "labels", "good", "reward_mean" and "diversity".
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
    prompts: tuple[dict[str, Any], ...] = ()

    @property
    def good_share(self) -> float | None:
        """Share of goods among the labelled pictures, in 0..1.

        None if nothing is labelled, or if most pictures are unlabelled and all labels are the same:
        it would then show which pictures were labelled, not how many are good.
        """
        alike = self.good in (0, self.labels)
        if not self.labels or (alike and self.labels < self.unlabelled):
            return None
        return self.good / self.labels


CURRENT_METRIC_NAMES = {
    "behind": "staleness",
    "reward_auc_before": "predicted_reward_auc",
    "stand_ins": "assumed_negatives",
    "unlabelled_chance": "pseudo_label_mean",
}
"""Metrics of older runs, and what they are called now."""


def with_current_names(report: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `RoundFinished` of any age, with the current names of its metrics."""
    metrics = report.get("metrics")
    if metrics is None:
        return dict(report)
    current = {CURRENT_METRIC_NAMES.get(name, name): value for name, value in metrics.items()}
    return {**report, "metrics": current}


@dataclass(frozen=True)
class Notice(JsonEvent):
    """A problem that was handled: one line that says what happened and what was done."""

    event: ClassVar[str] = "notice"
    message: str


@dataclass(frozen=True)
class Finished(JsonEvent):
    """The engine has ended.

    reason: at the run's end "budget" (used) or "rounds" (as many as asked for); before it "stopped"
    or "labels" (the run waits for labels from outside).
    """

    event: ClassVar[str] = "finished"
    run: str
    rounds: int
    labels: int
    reason: str
    note: str = ""


@dataclass(frozen=True)
class Failed(JsonEvent):
    """The engine has ended with an error: one line."""

    event: ClassVar[str] = "failed"
    message: str
    exit_code: int


Event = (
    RunOpened
    | Preflight
    | PhaseStarted
    | Progress
    | ImagesReady
    | FixedNoiseReady
    | RoundFinished
    | Notice
    | Finished
    | Failed
)
