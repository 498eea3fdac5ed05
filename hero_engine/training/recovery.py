"""Where a run begins: at its newest intact checkpoint, or at the start.

Where the newest checkpoint is damaged, the rounds after the one before it are learned from again:
the journal keeps their labels, and `round_images.py` regenerates what is missing of their images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from hero_engine.core.batch import Batch
from hero_engine.core.errors import Damaged
from hero_engine.core.events import RoundFinished, with_current_names
from hero_engine.core.numbering import round_name, rounds_name
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer

Notify = Callable[[str], None]


def newest_state(
    folder: RunDir, trainer: Trainer, notify: Notify
) -> tuple[State, RoundFinished | None]:
    """The state of the newest whole checkpoint, and the report of the round before it.

    notify: called with a line for every damaged checkpoint. HeroError, exit code 4, if a
    checkpoint does not fit the run.
    """
    found = folder.load_checkpoint(notify)
    if found is None:
        return trainer.initial_state(folder.first_lora()), None
    parts, counters = found
    report = RoundFinished(**with_current_names(counters["finished"]))
    return trainer.restored(parts, report.round + 1, report.labels_total), report


def check_journal(journal: Journal, path: str, state: State) -> None:
    """Damaged if the journal does not know a round that was learned from."""
    if lost := sorted({*range(state.round)} - journal.rounds().keys()):
        raise Damaged(
            f"{path} knows nothing of {round_name(lost[0])}, which was learned from: "
            "put the run's own journal back"
        )


def reached_round(journal: Journal, state: State, notify: Notify) -> int:
    """The first round that was never learned from; those from the state's on are learned again."""
    reached = len(journal.metrics())
    if state.round < reached:
        notify(
            f"no whole checkpoint is newer than the start of {round_name(state.round)}: "
            f"learning again from the labels of {rounds_name(range(state.round, reached))}"
        )
    return max(state.round, reached)


def save_round(folder: RunDir, state: State, report: RoundFinished) -> None:
    """Write the checkpoint that makes the report's round done; `state` is the next round's."""
    counters = {"seed": folder.settings.seed, "finished": asdict(report)}
    folder.save_checkpoint(state.round, state.parts(), counters)


def settle(folder: RunDir, journal: Journal, report: RoundFinished, notify: Notify) -> None:
    """Make folder and journal agree with a checkpoint; repeated after a crash in between."""
    if parts := folder.load_parts(report.round, notify):
        batch = Batch.cat(Batch.from_tensors(part) for part in parts.values())
        whole = len(batch) == folder.settings.batch
        kept = replace(batch, trajectory=None).tensors() if whole else None
        folder.condense(report.round, kept)
    journal.finish_round(report.round, asdict(report))
