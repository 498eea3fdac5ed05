"""Samples the missing microbatches of a round; every rank of a run does so in step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from hero_engine.core.batch import Batch
from hero_engine.distributed.sharding import parallel_groups
from hero_engine.models.grouped_conditioning import Pixels
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.policy.sampler import SampleRequest
from hero_engine.training.oom_backoff import OomBackoff
from hero_engine.training.progress_reports import Meter, StepProgress
from hero_engine.training.trainer import Trainer

Group = Sequence[range]
"""Microbatches that are sampled at the same time, each as the range of its images."""


class RoundSampler:
    """Samples with memory backoff and progress, a group of microbatches after the other."""

    def __init__(self, trainer: Trainer, backoff: OomBackoff, progress: StepProgress) -> None:
        self.trainer, self.settings = trainer, trainer.settings
        self.processes = trainer.processes
        self.backoff, self.progress = backoff, progress

    def sample(
        self, round: int, policy: PolicySnapshot, missing: Sequence[range] = ()
    ) -> Iterator[tuple[Group, Batch, Pixels]]:
        """Each group with its images: the batch on every rank, the pixels on rank 0.

        missing: the microbatches to sample, as rank 0 knows them; other ranks receive them.
        """
        received = self.processes.from_main(lambda: [[each.start, each.stop] for each in missing])
        if not received:
            return
        request, meter = (
            self.trainer.round_request(round, policy.priors),
            self.progress.meter(round, "sampling", "sample"),
        )
        ranges = [range(*each) for each in received]
        there = self.settings.batch - sum(map(len, ranges))
        for group in parallel_groups(ranges, self.processes.count):
            yield group, *self._sampled(request, policy, group, meter, there)
            there += sum(map(len, group))

    def whole(self, batch: Batch | None, sampled: int) -> Batch:
        """The round's batch on every rank: rank 0's, if some of it came from its disk.

        batch: what this rank has. sampled: the number of images that were sampled just now.
        """
        if batch is not None and sampled == self.settings.batch:
            return batch
        tensors = None if batch is None else batch.tensors()
        return Batch.from_tensors(self.processes.broadcast(None, tensors)[1])

    def _sampled(
        self,
        request: SampleRequest,
        policy: PolicySnapshot,
        group: Group,
        meter: Meter,
        there: int,
    ) -> tuple[Batch, Pixels]:
        images = torch.tensor([image for rows in group for image in rows])
        return self.backoff.run(
            "sample",
            self.settings.microbatch,
            lambda microbatch: self.trainer.sample(
                policy.lora,
                request.rows(images),
                microbatch,
                lambda done: meter.at(there + done, self.settings.batch),
            ),
        )
