"""How the engine tells what it does: to whoever listens, to events.jsonl, and to status.json."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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

Deliver = Callable[[Event], None]
CheckStop = Callable[[], None]
"""Raises StopRequested when the engine should stop here."""

STATES = {"stopped": "stopped", "labels": "waiting"}
"""A run's state by why its engine ended before the run's end."""

PACE = 0.25
"""Seconds between two reports of progress; the last of a step is always told."""


class Reporter:
    """Tells every event to `deliver`, after the disk knows it.

    Progress is only delivered: it means nothing afterwards, and would fill the disk.
    tracker: also gets what is noted, once there is one.
    """

    def __init__(self, folder: RunDir, deliver: Deliver) -> None:
        self._folder, self._deliver = folder, deliver
        self._status: dict[str, Any] = {}
        self.tracker: Tracker | None = None

    def tell(self, event: Event) -> None:
        """Write the event down and hand it on."""
        self.note(event)
        self._deliver(event)

    def note(self, event: Event) -> None:
        """Write the event down."""
        if not isinstance(event, Progress):
            self._folder.add_event(event.to_json())
        if changes := self._drawn_ahead(event) or _changes(event):
            self._status |= changes | {"pid": os.getpid(), "updated": time.time()}
            self._folder.write_status(self._status)
        if self.tracker is not None:
            self._track(self.tracker, event)

    def _drawn_ahead(self, event: Event) -> dict[str, Any]:
        """What an event says of the round after the one at hand: only how much of it is there."""
        match event:
            case PhaseStarted(round=round) if self._is_ahead(round):
                return {"pictures_ahead": self._status.get("pictures_ahead", 0)}
            case ImagesReady(round=round) if self._is_ahead(round):
                return {"pictures_ahead": max(event.indices) + 1}
            case RoundFinished() if "pictures_ahead" in self._status:
                del self._status["pictures_ahead"]
        return {}

    def _is_ahead(self, round: int) -> bool:
        at_hand = int(self._status.get("round", round))
        return round > at_hand and self._status.get("phase", "done") != "done"

    def _track(self, tracker: Tracker, event: Event) -> None:
        tracker.note(event)
        if tracker.failure:
            self.tracker = None
            self.tell(Notice(f"the tracker failed and is left out: {tracker.failure}"))


def _changes(event: Event) -> dict[str, Any]:  # noqa: PLR0911 - one for each event
    """What an event says for status.json."""
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
    """Progress of one step of a round, with an estimate; also the place where a stop takes effect.

    It is itself a callback (done, total); `piece` makes one for a part of the whole, such as the
    20 denoising steps of 16 pictures, after 32 others, in a batch of 64: `piece(32, 16, 64)`.
    """

    def __init__(
        self, tell: Deliver, check_stop: CheckStop, round: int, phase: str, step: str
    ) -> None:
        self._tell, self._check_stop = tell, check_stop
        self._where = (round, phase, step)
        self._begun: tuple[float, float] | None = None
        self._told = 0.0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total`; raises StopRequested when the engine should stop."""
        self.at(done, total)

    def piece(self, offset: int, count: int, whole: int) -> Callable[[int, int], None]:
        """A callback for a piece of the whole: `count` units from `offset` on."""
        return lambda done, total: self.at(offset + count * done / total, whole)

    def at(self, done: float, total: int) -> None:
        """`done` may lie between two units; what is told is rounded down."""
        self._check_stop()
        now = time.monotonic()
        self._begun = self._begun or (now, done)
        if now - self._told < PACE and done < total:
            return
        self._told = now
        since, first = self._begun
        left = (now - since) / (done - first) * (total - done) if done > first else None
        self._tell(Progress(*self._where, int(done), total, left))
