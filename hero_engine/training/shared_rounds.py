"""`Rounds` for several processes that share a run.

Every rank runs the same loop. Rank 0 asks its folder, its journal and its annotator, and broadcasts
the answers (`MainRounds`); the other ranks receive them (`ReplicaRounds`) and hold no files.
"""

from __future__ import annotations

from dataclasses import asdict

from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.core.labels import Labels
from hero_engine.distributed.collectives import Processes, group_of, prefixed
from hero_engine.distributed.sharding import slices
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.training.loop import train
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.progress_reports import RaiseIfStopped, StepProgress
from hero_engine.training.round_report import Outcome
from hero_engine.training.round_sampler import RoundSampler
from hero_engine.training.rounds import Rounds
from hero_engine.training.state import State
from hero_engine.training.steps import LearningSteps
from hero_engine.training.trainer import Trainer


class MainRounds:
    """`Rounds` on rank 0: another `Rounds` decides, and the other ranks receive its decisions."""

    def __init__(self, rounds: Rounds, processes: Processes) -> None:
        self._rounds, self._processes = rounds, processes

    def why_over(self, state: State) -> str:
        """As the rounds say."""
        return str(self._processes.from_main(lambda: self._rounds.why_over(state)))

    def is_next_sampled_ahead(self, state: State) -> bool:
        """As the rounds say."""
        return bool(self._processes.from_main(lambda: self._rounds.is_next_sampled_ahead(state)))

    def sample(self, round: int, policy: PolicySnapshot) -> Batch:
        """As the rounds do it; their sampler broadcasts what is missing."""
        return self._rounds.sample(round, policy)

    def label(self, state: State) -> Labels:
        """The labels of the rounds, without a time limit."""
        labels = self._rounds.label(state)
        self._processes.broadcast(asdict(labels))
        return labels

    def imported(self, state: State) -> LabelledLatents | None:
        """As the rounds say; the others are told."""
        found = self._rounds.imported(state)
        self._processes.broadcast(None, {} if found is None else found.tensors())
        return found

    def finish(self, state: State, outcome: Outcome) -> None:
        """As the rounds do it. Nothing of it concerns the others."""
        self._rounds.finish(state, outcome)


class ReplicaRounds:
    """`Rounds` on a rank above 0: all decisions are rank 0's."""

    def __init__(self, sampler: RoundSampler) -> None:
        self._sampler, self._processes = sampler, sampler.processes

    def why_over(self, state: State) -> str:
        """As on rank 0."""
        return str(self._processes.broadcast()[0])

    def is_next_sampled_ahead(self, state: State) -> bool:
        """As on rank 0."""
        return bool(self._processes.broadcast()[0])

    def sample(self, round: int, policy: PolicySnapshot) -> Batch:
        """The round's images, of which this rank samples its share."""
        parts = {
            images.start: batch.some(here)
            for group, batch, _ in self._sampler.sample(round, policy)
            for images, here in slices(group)
        }
        batch = Batch.cat(parts[first] for first in sorted(parts)) if parts else None
        return self._sampler.whole(batch, sum(map(len, parts.values())))

    def label(self, state: State) -> Labels:
        """The labels that rank 0 has, as soon as it has them."""
        labels = self._processes.broadcast()[0]
        return Labels(tuple(labels["good"]), tuple(labels["bests"]), labels["best_assumed"])

    def imported(self, state: State) -> LabelledLatents | None:
        """As on rank 0."""
        tensors = self._processes.broadcast()[1]
        return LabelledLatents(**tensors) if tensors else None

    def finish(self, state: State, outcome: Outcome) -> None:
        """Nothing: rank 0 writes the checkpoint."""


class KnownLimits:
    """Memory limits of a rank without a journal."""

    def __init__(self, known: dict[str, int]) -> None:
        self._known = known

    def limits(self) -> dict[str, int]:
        """Those that the run had."""
        return dict(self._known)

    def limit(self, step: str, microbatch: int) -> None:
        """Nothing: rank 0 remembers it, and every rank finds the same."""


def share_start(processes: Processes, state: State, limits: dict[str, int]) -> None:
    """On rank 0: the state that the run begins with, for `run_replica` on the others."""
    parts = state.parts()
    tensors = {
        key: each for name, part in parts.items() for key, each in prefixed(name, part).items()
    }
    values = {
        "round": state.round,
        "labels_used": state.labels_used,
        "parts": [*parts],
        "limits": limits,
    }
    processes.broadcast(values, tensors)


def run_replica(trainer: Trainer, raise_if_stopped: RaiseIfStopped) -> None:
    """Run the loop on a rank above 0, from where rank 0 begins to its end.

    StopRequested where rank 0 has left.
    """
    values, tensors = trainer.processes.broadcast()
    parts = {name: group_of(name, tensors) for name in values["parts"]}
    state = trainer.restored(parts, values["round"], values["labels_used"])
    progress = StepProgress(lambda event: None, raise_if_stopped)
    backoff = OomBackoff(KnownLimits(values["limits"]), progress.emit)
    rounds = ReplicaRounds(RoundSampler(trainer, backoff, progress))
    train(rounds, LearningSteps(trainer, backoff, progress), state)
