"""Sampling that all processes of a run share: each samples its images, and the batch is gathered.

A round comes in microbatches, as many at a time as there are processes. Every rank calls the same
methods in the same order; rank 0 alone gets pixels, because it alone writes pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch
from hero_engine.distributed.collectives import Processes
from hero_engine.models.grouped_conditioning import GroupedConditioning, Pixels
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import OnImages, SampleRequest, sample_batches

PIXELS = "pixels"


@dataclass(frozen=True)
class Sampler:
    """The model as it is now, as a sampler of the run's images; `drawn` says from what."""

    model: Model
    drawn: GroupedConditioning
    settings: Settings

    def sample(
        self, request: SampleRequest, microbatch: int, on_images: OnImages, *, decode: bool
    ) -> tuple[dict[str, Tensor], Pixels | None]:
        """A batch's tensors (see `Batch`) and its pixels; {} and None for an empty request."""
        if not len(request):
            return {}, None
        batches, pictures = list[Batch](), list[Pixels]()
        kinds, sampler = self.settings.plan.kinds, self.settings.sampler
        for batch in sample_batches(self.model, kinds, sampler, request, microbatch, on_images):
            batches.append(batch)
            pictures.append(self._pixels(batch, decode=decode))
        return Batch.cat(batches).tensors(), np.concatenate(pictures)

    def _pixels(self, batch: Batch, *, decode: bool) -> Pixels:
        if decode:
            return self.drawn.decode(self.model, batch.latents_B_C_H_W, batch.groups)
        return np.zeros((len(batch), 0), np.uint8)


def sample_sharded(
    processes: Processes,
    sampler: Sampler,
    request: SampleRequest,
    microbatch: int,
    on_images: OnImages,
    *,
    decode: bool,
) -> tuple[Batch, Pixels]:
    """The images of a request, in order: the batch on every rank; pixels on rank 0, elsewhere none.

    microbatch: images a forward pass; every rank takes the smallest that any of them passes.
    on_images: called with this rank's progress, scaled to all ranks. decode: whether anybody
    will see the images.
    """
    with processes.in_step():
        at_once = processes.all_reduce_min(microbatch)
        own = request.rows(processes.share(torch.arange(len(request))))
        scale = len(request) / max(1, len(own))
        tensors, pixels = sampler.sample(
            own, at_once, lambda done: on_images(done * scale), decode=decode
        )
        batch = Batch.cat(Batch.from_tensors(each) for each in processes.exchange(tensors) if each)
        return batch, _gathered(processes, pixels, len(batch))


def _gathered(processes: Processes, pixels: Pixels | None, count: int) -> Pixels:
    """The pixels of all ranks, on rank 0."""
    if processes.single and pixels is not None:
        return pixels
    own = {} if pixels is None else {PIXELS: torch.from_numpy(pixels)}
    parts = [each[PIXELS].numpy() for each in processes.gather(own) if each]
    return np.concatenate(parts) if parts else np.zeros((count, 0), np.uint8)
