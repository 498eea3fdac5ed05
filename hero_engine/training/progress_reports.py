"""How the engine reports: events to a listener, to events.jsonl and to status.json; progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    ImagesReady,
    Notice,
    PhaseStarted,
    Progress,
    RoundFinished,
    RunOpened,
)
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trackers import Tracker

Emit = Callable[[Event], None]
RaiseIfStopped = Callable[[], None]
"""Raises StopRequested when the engine should stop here."""

STATES = {"stopped": "stopped", "labels": "waiting"}
"""Reason of an early end -> state of the run."""

TIMED = ("sample", "embed", "update")
"""Steps whose seconds a round reports."""

REPORT_INTERVAL = 0.25
"""Seconds between two progress events of a step; its last one is always emitted."""


class Reporter:
    """Emits every event to `deliver`, after it is on the disk.

    Progress is only delivered: it means nothing later, and would fill the disk. tracker: gets what
    is recorded, too, once there is one.
    """

    def __init__(self, folder: RunDir, deliver: Emit) -> None:
        self._folder, self._deliver = folder, deliver
        self._status: dict[str, Any] = {}
        self.tracker: Tracker | None = None

    def emit(self, event: Event) -> None:
        """Record the event and deliver it."""
        self.record(event)
        self._deliver(event)

    def record(self, event: Event) -> None:
        """Write the event to the disk."""
        if not isinstance(event, Progress):
            self._folder.add_event(event.to_json())
        if changes := self._sampled_ahead(event) or _changes(event):
            self._status |= changes | {"pid": os.getpid(), "updated": time.time()}
            self._folder.write_status(self._status)
        if self.tracker is not None:
            self._track(self.tracker, event)

    def _sampled_ahead(self, event: Event) -> dict[str, Any]:
        """What an event of a round that is sampled ahead changes: only the number of its images."""
        match event:
            case PhaseStarted(round=round) if self._is_ahead(round):
                return {"pictures_ahead": self._status.get("pictures_ahead", 0)}
            case ImagesReady(round=round) if self._is_ahead(round):
                return {"pictures_ahead": max(event.indices) + 1}
            case RoundFinished() if "pictures_ahead" in self._status:
                del self._status["pictures_ahead"]
        return {}

    def _is_ahead(self, round: int) -> bool:
        current = int(self._status.get("round", round))
        return round > current and self._status.get("phase", "done") != "done"

    def _track(self, tracker: Tracker, event: Event) -> None:
        tracker.record(event)
        if tracker.failure:
            self.tracker = None
            self.emit(Notice(f"the tracker failed and is off from here on: {tracker.failure}"))


def _changes(event: Event) -> dict[str, Any]:  # noqa: PLR0911 - one for each event
    """What an event changes in status.json."""
    match event:
        case RunOpened():
            keep = ("run", "task", "prompt", "model", "update", "preset", "batch", "budget")
            known = {name: getattr(event, name) for name in keep}
            return known | {"state": "running", "round": event.round, "labels": event.labels_used}
        case PhaseStarted():
            return {"round": event.round, "phase": event.phase, "pictures": 0}
        case ImagesReady():
            return {"pictures": max(event.indices) + 1}
        case RoundFinished():
            return {
                "phase": "done",
                "labels": event.labels_total,
                "good_share": event.good_share,
                "reward_mean": event.reward_mean,
                "note": event.note,
            }
        case Finished():
            return {"state": STATES.get(event.reason, "finished")}
        case Failed():
            return {"state": "failed", "error": event.message}
    return {}


class Meter:
    """Progress of one step of a round, with an estimate of the time left. A stop takes effect here.

    It is itself a callback (done, total).
    """

    def __init__(
        self, emit: Emit, raise_if_stopped: RaiseIfStopped, round: int, phase: str, step: str
    ) -> None:
        self._emit, self._raise_if_stopped = emit, raise_if_stopped
        self._where = (round, phase, step)
        self._begun: tuple[float, float] | None = None
        self._reported = 0.0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total`; raises StopRequested when the engine should stop."""
        self.at(done, total)

    def at(self, done: float, total: int) -> None:
        """The same; `done` may lie between two units and is reported rounded down."""
        self._raise_if_stopped()
        now = time.monotonic()
        self._begun = self._begun or (now, done)
        if now - self._reported < REPORT_INTERVAL and done < total:
            return
        self._reported = now
        since, first = self._begun
        left = (now - since) / (done - first) * (total - done) if done > first else None
        self._emit(Progress(*self._where, int(done), total, left))


class StepProgress:
    """Makes the meters of a run's steps, and adds up the seconds of each step of a round."""

    def __init__(self, emit: Emit, raise_if_stopped: RaiseIfStopped) -> None:
        self.emit, self.raise_if_stopped = emit, raise_if_stopped
        self.seconds = dict.fromkeys(TIMED, 0.0)

    def restart(self) -> None:
        """A round begins."""
        self.seconds = dict.fromkeys(TIMED, 0.0)

    def meter(self, round: int, phase: str, step: str) -> Meter:
        """The progress of one step."""
        return Meter(self.emit, self.raise_if_stopped, round, phase, step)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count the block's time to this step."""
        begun = time.monotonic()
        yield
        self.seconds[step] += time.monotonic() - begun
