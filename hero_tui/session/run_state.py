"""The run's state, folded from the engine's events; knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hero_engine.config.prompts import ONE_PROMPT, Order, PromptPlan, read_size
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
    RunOpened,
)
from hero_tui.session.wait_estimate import Wait, wait_for_pictures


@dataclass(frozen=True)
class RunState:
    """The run's state for the status line.

    `rounds` are the finished rounds, oldest first; `labels` counts their labels. `round` is the
    one being labelled, `engine_round` the one that `phase` is about. `your_turn`: there are
    pictures to label. `first_share`: of a round's pictures, the share that appeared first.
    `drawn`: the newest round with pictures. `per_minute`: labels that the person gives in a minute.
    """

    opened: RunOpened | None = None
    round: int = 0
    engine_round: int = 0
    phase: str = "opening"
    progress: Progress | None = None
    rounds: tuple[RoundFinished, ...] = ()
    labels: int = 0
    note: str = ""
    finished: Finished | None = None
    failed: Failed | None = None
    stopping: bool = False
    your_turn: bool = False
    first_share: float = 1.0
    drawn: int = -1
    per_minute: float | None = None

    def after(self, event: Event) -> RunState:
        """The state once this event has happened."""
        if isinstance(event, RoundFinished):
            return self.after_round(event)
        return replace(self, **_changes(self, event))

    def after_round(self, event: RoundFinished) -> RunState:
        """The state once a round is done; a round reported twice (a resume) counts once."""
        if event.round < len(self.rounds):
            return self
        return replace(
            self,
            rounds=(*self.rounds, event),
            labels=event.labels_total,
            note=event.note,
            progress=None,
        )

    def remembering(self, metrics: Sequence[Mapping[str, Any]]) -> RunState:
        """The state with the rounds that the journal remembers (RoundFinished as dicts)."""
        if not metrics:
            return self
        rounds = tuple(RoundFinished(**row) for row in metrics)
        return replace(self, rounds=rounds, labels=rounds[-1].labels_total)

    @property
    def plan(self) -> PromptPlan:
        """The run's prompts, sizes and input pictures; of one prompt while they are unknown."""
        run = self.opened
        if run is None or not (run.prompts or run.sizes or run.input_pictures):
            return ONE_PROMPT
        order: Order = "mixed" if run.prompts_mixed else "grouped"
        return PromptPlan(
            run.prompts or (run.prompt,),
            run.prompt_starts,
            order,
            tuple(map(read_size, run.sizes)),
            run.input_pictures,
        )

    @property
    def shares(self) -> tuple[float | None, ...]:
        """The share of good of every finished round; None if it is not known."""
        return tuple(event.good_share for event in self.rounds)

    @property
    def budget(self) -> int:
        """Labels the run may use; 0 while unknown."""
        return self.opened.budget if self.opened else 0

    @property
    def elsewhere(self) -> bool:
        """Whether the engine is at another round than the person, who need not wait for it."""
        return self.engine_round != self.round

    @property
    def wait(self) -> Wait | None:
        """How long the person waits for pictures; None if there are some, or none will come."""
        if self.your_turn or self.stopping or self.finished is not None:
            return None
        last = self.rounds[-1].seconds if self.rounds else {}
        return wait_for_pictures(self.phase, self.progress, last, self.first_share)

    @property
    def busy(self) -> bool:
        """Whether the engine computes, so that progress means something."""
        return self.phase in {"sampling", "training"}


def _at(round: int) -> dict[str, Any]:
    return {"round": round, "engine_round": round}


def _changes(state: RunState, event: Event) -> dict[str, Any]:
    """What an event other than RoundFinished says about the run, by field."""
    changes: dict[str, Any]
    match event:
        case RunOpened():
            changes = {"opened": event, **_at(event.round), "labels": event.labels_used}
        case PhaseStarted():
            changes = {**_at(event.round), "phase": event.phase, "progress": None}
        case Progress():
            changes = {"progress": event}
        case ImagesReady() if state.opened and state.opened.batch and event.round > state.drawn:
            share = min(1.0, len(event.indices) / state.opened.batch)
            changes = {"first_share": share, "drawn": event.round}
        case Finished(reason="stopped"):
            changes = {"finished": event, "progress": None}
        case Finished():
            changes = {"finished": event, "phase": "finished", "progress": None}
        case Failed():
            changes = {"failed": event, "phase": "failed", "progress": None}
        case _:
            changes = {}
    return changes
