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
from hero_engine.core.labels import Labels
from hero_engine.distributed.collectives import Ranks
from hero_engine.distributed.launcher import ranks_of
from hero_engine.distributed.sharding import Wanted, sample_together
from hero_engine.evaluation.engine_speed import timed
from hero_engine.training.round_images import steps_to_keep
from hero_engine.training.state import Learner
from hero_engine.updates import Experience

Work = Callable[[Learner], object]


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
        self.shared = Learner.open(settings, ranks=ranks)
        self.alone = Learner(settings, self.shared.model)
        self.batch = self._sampled(self.shared)  # the others open their models meanwhile
        self.labels = Labels(tuple(i % 2 == 0 for i in range(settings.batch)), best=0)
        for learner in (self.alone, self.shared):
            learner.remember(self.batch, self.labels)

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

    def _sampled(self, learner: Learner) -> Batch:
        """The round's pictures, decoded, in turns as `Pictures` makes them."""
        wanted, size = self._wanted(), self._turn(learner)
        return Batch.cat(
            sample_together(
                learner.ranks,
                learner.model,
                self.settings,
                wanted.some(range(first, min(first + size, self.settings.batch))),
                self.settings.microbatch,
                lambda done: None,
            )[0]
            for first in range(0, self.settings.batch, size)
        )

    def _turn(self, learner: Learner) -> int:
        """Pictures that are handed out at once."""
        return self.settings.microbatch * learner.ranks.count

    def _updated(self, learner: Learner) -> None:
        learner.improve(self._experience(learner), lambda done, total: None)

    def _experience(self, learner: Learner) -> Experience:
        rewards = torch.linspace(0, 1, self.settings.batch)
        return learner.experience(self.batch, self.labels, rewards, 0)

    def _wanted(self) -> Wanted:
        settings, learner = self.settings, self.shared
        noises = learner.prior.draw(
            settings.batch, learner.model.latent_shape, settings.noise, settings.seed, 0
        )
        kept = steps_to_keep(learner, 0)
        return Wanted(0, tuple(range(settings.batch)), noises, kept)


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
