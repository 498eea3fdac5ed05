"""The phases of rounds: on the disk before they begin, so that a resume continues in the last."""

from __future__ import annotations

from hero_engine.core.events import PhaseStarted
from hero_engine.storage.journal import Journal
from hero_engine.training.progress_reports import StepProgress


class Phases:
    """Which phase each round of a run is in: see `core.events.PHASES`."""

    def __init__(self, journal: Journal, progress: StepProgress) -> None:
        self._journal, self._progress = journal, progress

    def of(self, round: int) -> str:
        """A round's phase; "sampling" for one that has not begun."""
        row = self._journal.round(round)
        return "sampling" if row is None else row.phase

    def enter(self, round: int, phase: str) -> None:
        """The round enters a phase. StopRequested if the engine should stop instead."""
        self._progress.raise_if_stopped()
        self._journal.add_round(round)
        self._journal.set_phase(round, phase)
        self._progress.emit(PhaseStarted(round, phase))
