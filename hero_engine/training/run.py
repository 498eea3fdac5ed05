"""A run at work: the loop with its folder, its journal and its annotator.

A round goes through the phases sampling, labelling, training, done. Each is on the disk before it
begins, so a resumed run continues in the phase it left: sampling with the next microbatch, training
from the last checkpoint. The rename of a checkpoint is what makes a round done.
"""

from __future__ import annotations

from pathlib import Path

from hero_engine.core.batch import Batch
from hero_engine.core.events import Finished, FixedNoiseReady, Notice, RoundFinished
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.core.labels import Labels
from hero_engine.labelling.annotators import Annotator
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.storage.journal import Journal
from hero_engine.storage.learned_labels import LearnedLabels
from hero_engine.storage.run_folder import RunDir, why_over
from hero_engine.training import recovery
from hero_engine.training.fixed_noise import make_fixed_noise_images
from hero_engine.training.import_pictures import imported
from hero_engine.training.loop import run_round, train
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.phases import Phases
from hero_engine.training.progress_reports import Emit, RaiseIfStopped, StepProgress
from hero_engine.training.round_images import RoundImages
from hero_engine.training.round_report import Outcome
from hero_engine.training.shared_rounds import MainRounds, share_start
from hero_engine.training.state import State
from hero_engine.training.steps import LearningSteps
from hero_engine.training.trainer import Trainer


class Run:
    """A run at work. The caller holds the folder's lock.

    state: what the next round starts from. more_rounds: end after this many further rounds,
    regardless of the budget; None for the run's own end. Any method may raise StopRequested; to
    continue after that, make a new Run, which begins at the last checkpoint.
    """

    def __init__(
        self,
        folder: RunDir,
        journal: Journal,
        trainer: Trainer,
        annotator: Annotator,
        *,
        emit: Emit,
        raise_if_stopped: RaiseIfStopped = lambda: None,
        more_rounds: int | None = None,
    ) -> None:
        self.durable = DurableRounds(
            folder, journal, trainer, annotator, StepProgress(emit, raise_if_stopped)
        )
        self.rounds = MainRounds(self.durable, trainer.processes)
        self.steps = LearningSteps(trainer, self.durable.backoff, self.durable.progress)
        self.state = self.durable.resume(more_rounds)
        share_start(trainer.processes, self.state, journal.limits())

    @property
    def labels_used(self) -> int:
        """Labels given in the rounds so far."""
        return self.state.labels_used

    def run(self) -> Finished:
        """Run rounds until the budget is used."""
        self.state = train(self.rounds, self.steps, self.state)
        self.durable.show_fixed_noise(self.state)
        reason = self.durable.why_over(self.state)
        path = str(self.durable.folder.path)
        return Finished(path, self.state.round, self.state.labels_used, reason)

    def run_round(self) -> None:
        """Run one round."""
        self.state = run_round(self.rounds, self.steps, self.state)


class DurableRounds:
    """`Rounds` in a folder: everything is on the disk before it counts."""

    def __init__(
        self,
        folder: RunDir,
        journal: Journal,
        trainer: Trainer,
        annotator: Annotator,
        progress: StepProgress,
    ) -> None:
        self.folder, self.journal, self.settings = folder, journal, folder.settings
        self.trainer, self.annotator, self.progress = trainer, annotator, progress
        self.phases = Phases(journal, progress)
        self.backoff = OomBackoff(journal, progress.emit)
        self.images = RoundImages(folder, journal, trainer, self.backoff, progress)
        self.labels = LearnedLabels(journal, self.settings.plan, self.settings.batch)
        self._last_round: int | None = None

    def resume(self, more_rounds: int | None) -> State:
        """The state to begin with; see `recovery.py`."""
        state, report = recovery.newest_state(self.folder, self.trainer, self._notify)
        if report is not None:
            recovery.check_journal(self.journal, str(self.folder.journal_path), state)
            if self.phases.of(report.round) != "done":
                self._settle(report)
        reached = recovery.reached_round(self.journal, state, self._notify)
        self._last_round = None if more_rounds is None else reached + more_rounds
        return state

    def why_over(self, state: State) -> str:
        """Why the run has ended; a round that was begun is always brought to its end."""
        if self._last_round is not None:
            return "rounds" if state.round >= self._last_round else ""
        if self.journal.round(state.round) is not None:
            return ""
        return why_over(self.settings, state.round, state.labels_used)

    def is_next_sampled_ahead(self, state: State) -> bool:
        """True if another round is certain regardless of this round's label count.

        Where it is not, that round is sampled after the labels, as without `sample_ahead`. A round
        that is learned from again repeats what was done.
        """
        if not self.settings.sample_ahead:
            return False
        following, known = state.round + 1, self.journal.metrics()
        if following < len(known):
            return bool(known[following]["metrics"].get("staleness"))
        if self._last_round is not None and following < self._last_round:
            return True
        return not why_over(self.settings, following, state.labels_used + self.settings.batch)

    def sample(self, round: int, policy: PolicySnapshot) -> Batch:
        """The round's images, on the disk; from here on they can be labelled."""
        batch = self.images.sample(round, policy)
        if not self.journal.submitted(round):
            self.phases.enter(round, "labelling")
        return batch

    def label(self, state: State) -> Labels:
        """The labels from the journal, once the annotator has submitted them."""
        round, submitted = state.round, self.journal.submitted(state.round)
        self.show_fixed_noise(state)  # while a person has others to label
        if not submitted:
            self.annotator.label(round, self._pictures(round), self.journal)
        labels = self.labels.first(rounds=round + 1)[-1]
        self.phases.enter(round, "training")
        return labels

    def imported(self, state: State) -> LabelledLatents | None:
        """The pictures that `hero import` brought before this round was learned from."""
        return imported(self.folder, state.round)

    def finish(self, state: State, outcome: Outcome) -> None:
        """Write the checkpoint, then let the rest of the folder follow."""
        report = outcome.report(self.progress.seconds, self.settings.plan)
        recovery.save_round(self.folder, state, report)
        self._settle(report)
        self.progress.restart()

    def show_fixed_noise(self, state: State) -> None:
        """Make the images that show what training changed, unless they exist."""
        made = self.backoff.run(
            "sample",
            self.settings.microbatch,
            lambda microbatch: make_fixed_noise_images(
                self.folder, self.trainer, state, microbatch, self.progress.raise_if_stopped
            ),
        )
        if made:
            self.progress.emit(FixedNoiseReady(state.round))

    def _settle(self, report: RoundFinished) -> None:
        recovery.settle(self.folder, self.journal, report, self._notify)
        self.progress.emit(report)

    def _pictures(self, round: int) -> dict[int, Path]:
        images = self.journal.images(round)
        return {index: self.folder.path / path for index, path in images.items()}

    def _notify(self, message: str) -> None:
        self.progress.emit(Notice(message))
