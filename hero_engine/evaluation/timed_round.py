"""Seconds of a round's sampling and update: by one process, and shared with others.

Both use the same model and are timed in turns, so that a machine that is busy for a while slows
both. The fastest turn of each counts: other programs disturbed it least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.distributed.collectives import Ranks
from hero_engine.distributed.launcher import ranks_of
from hero_engine.evaluation.engine_speed import half_good_task, timed
from hero_engine.policy.noise_prior import FRESH
from hero_engine.training.trainer import Trainer

Work = Callable[[Trainer], object]


@dataclass(frozen=True)
class Times:
    """Seconds: alone with as many threads as a process of the others has, alone with all threads
    (the same where there are no more), and shared."""

    alone: float
    all_threads: float
    shared: float


class Trial:
    """A first round of which every other picture is labelled good. Rank 0's; the others follow.

    threads: that one process has where it is alone. threads_each: that each has of several.
    """

    def __init__(self, settings: Settings, ranks: Ranks, threads: int) -> None:
        self.settings, self.ranks, self.threads = settings, ranks, threads
        self.threads_each = torch.get_num_threads()
        self.shared = Trainer.open(settings, ranks=ranks)
        self.alone = Trainer(settings, self.shared.model)
        self.state, self.request = self.alone.initial_state(), self.alone.round_request(0, FRESH)
        self.batch = self._sampled(self.shared)  # the others open their models meanwhile
        labels = Labels(tuple(i % 2 == 0 for i in range(settings.batch)), best=0)
        self.round = LabelledRound(0, self.batch, labels)

    def sampling(self, turns: int) -> Times:
        """Of a round's pictures."""
        return self._times(self._sampled, turns)

    def updating(self, turns: int) -> Times:
        """Of a round's update. Every turn goes on from the last one's weights."""
        return self._times(self._updated, turns)

    def _times(self, work: Work, turns: int) -> Times:
        """Alone and shared, in turns."""
        alone, shared = partial(work, self.alone), partial(work, self.shared)
        more = self.threads > self.threads_each
        whole = [partial(self._with_all_threads, alone)] if more else []
        times = fastest([alone, shared, *whole], turns)
        return Times(times[0], times[2] if more else times[0], times[1])

    def _with_all_threads(self, work: Callable[[], object]) -> None:
        torch.set_num_threads(self.threads)
        try:
            work()
        finally:
            torch.set_num_threads(self.threads_each)

    def _sampled(self, trainer: Trainer) -> Batch:
        """The round's pictures, decoded, as many at a time as a run samples."""
        microbatch = self.settings.microbatch
        turns = torch.split(torch.arange(self.settings.batch), microbatch * trainer.ranks.count)
        return Batch.cat(
            trainer.sample(self.state.lora, self.request.rows(places), microbatch)[0]
            for places in turns
        )

    def _updated(self, trainer: Trainer) -> None:
        self.state, _ = trainer.improve(self.state, half_good_task(trainer, self.round))


@contextmanager
def trial_of(settings: Settings, processes: int, folder: Path) -> Iterator[Trial]:
    """A trial with so many processes, which end with it; what they say goes into the folder."""
    threads = torch.get_num_threads()
    with ranks_of(processes, folder, lambda: None) as ranks:
        yield Trial(settings, ranks, threads)


def fastest(works: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """Seconds of the fastest turn of each; they take turns."""
    times = [[timed(work) for work in works] for _ in range(turns)]
    return [min(column) for column in zip(*times, strict=True)]
