"""Seconds of a round's sampling and update, in one process and shared by several.

    python -m hero_engine.evaluation.timed_round   # `hero bench speed --processes N` starts it

Both use the same model and are timed in turns, so that other load on the machine slows both. The
fastest turn of each counts, since other programs disturbed it least. Every rank runs the same
code; the others wait while rank 0 works alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hero_engine.config.settings import Settings, from_toml, to_toml
from hero_engine.core.batch import Batch
from hero_engine.core.errors import StopRequested
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.distributed.collectives import Processes
from hero_engine.distributed.launcher import (
    Launched,
    joined,
    own_device,
    processes_of,
    stop_with_parent,
)
from hero_engine.evaluation.engine_speed import half_good_task, timed
from hero_engine.policy.noise_prior import GroupPriors
from hero_engine.training.trainer import Trainer

PROGRAM = "hero_engine.evaluation.timed_round"

Work = Callable[[Trainer], object]


@dataclass(frozen=True)
class Times:
    """Seconds. alone: with as many threads as each of several processes has. all_threads: with all
    threads of the machine, if those are more. shared: by all processes.
    """

    alone: float
    all_threads: float
    shared: float


class Trial:
    """A first round in which every other image is labelled good.

    threads: torch's, of a process that is alone. threads_each: of one that shares the machine.
    """

    def __init__(
        self, settings: Settings, processes: Processes, threads: int, device: str = "auto"
    ) -> None:
        self.settings, self.processes, self.threads = settings, processes, threads
        self.threads_each = torch.get_num_threads()
        self.shared = Trainer.open(settings, device, processes)
        self.alone = Trainer(settings, self.shared.model)
        self.request = self.alone.round_request(0, GroupPriors())
        self.batch = self._sampled(self.shared)
        labels = Labels(tuple(i % 2 == 0 for i in range(settings.batch)), bests=(0,))
        self.round = LabelledRound(0, self.batch, labels)
        self.state = self.alone.initial_state().with_labels(self.round)

    def sampling(self, turns: int) -> Times:
        """Seconds to sample and decode a round's images."""
        return self._times(self._sampled, turns)

    def updating(self, turns: int) -> Times:
        """Seconds of a round's update. Every turn begins with the same weights."""
        return self._times(self._updated, turns)

    def _times(self, work: Work, turns: int) -> Times:
        """The fastest of this many turns, on rank 0."""
        rows = [self._turn(work) for _ in range(turns)]
        return Times(*(min(column) for column in zip(*rows, strict=True)))

    def _turn(self, work: Work) -> tuple[float, float, float]:
        alone = self._on_main(work, self.threads_each)
        more = self.threads > self.threads_each
        all_threads = self._on_main(work, self.threads) if more else alone
        return alone, all_threads, timed(lambda: work(self.shared))

    def _on_main(self, work: Work, threads: int) -> float:
        """Seconds of rank 0 alone, while the others wait."""

        def measured() -> float:
            torch.set_num_threads(threads)
            try:
                return timed(lambda: work(self.alone))
            finally:
                torch.set_num_threads(self.threads_each)

        return float(self.processes.from_main(measured))

    def _sampled(self, trainer: Trainer) -> Batch:
        """The round's images, decoded, in turns as a run samples them."""
        size = self.settings.microbatch * trainer.processes.count
        lora = trainer.model.lora_state()
        return Batch.cat(
            trainer.sample(lora, self.request.rows(places), self.settings.microbatch)[0]
            for places in torch.split(torch.arange(self.settings.batch), size)
        )

    def _updated(self, trainer: Trainer) -> None:
        trainer.improve(self.state, half_good_task(trainer, self.round))


def measure(settings: Settings, processes: int, turns: int, logs: Path) -> dict[str, Any]:
    """All figures as JSON values, by this process and the others, which it starts.

    logs: folder for what the others print. Lost if one of them ends.
    """
    threads = torch.get_num_threads()
    with processes_of(processes, logs, PROGRAM) as group:
        group.broadcast({"settings": to_toml(settings), "turns": turns})
        trial = Trial(settings, group, threads)
        return {
            "processes": processes,
            "threads": threads,
            "threads_each": trial.threads_each,
            "sampling": asdict(trial.sampling(turns)),
            "update": asdict(trial.updating(turns)),
        }


def main() -> None:
    """A rank above 0: the same, with nothing to report."""
    launched = Launched.from_environment()
    assert launched is not None
    try:
        with joined(launched, stop_with_parent()) as group:
            received = group.broadcast()[0]
            settings, turns = from_toml(received["settings"]), received["turns"]
            trial = Trial(settings, group, torch.get_num_threads(), own_device())
            trial.sampling(turns)
            trial.updating(turns)
    except StopRequested:
        return


if __name__ == "__main__":
    main()
