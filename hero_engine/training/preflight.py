"""What a new run will need, shown before its first picture: memory, and the time of a session.

The time of a denoising step is measured on the run's own model and device. All else is arithmetic:
an image takes its steps, and the update its network's calls (`updates/network_calls.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil

import torch

from hero_engine.core.events import Preflight
from hero_engine.core.rng import generator
from hero_engine.models.footprint import footprint_of
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import SampleRequest, sample_batches
from hero_engine.training.progress_reports import RaiseIfStopped
from hero_engine.training.trainer import Trainer
from hero_engine.updates import network_calls
from hero_engine.updates.network_calls import forward_passes

STEPS = 2
"""Denoising steps of the timed image, and of the one before it that warms the device up."""


def preflight(trainer: Trainer, raise_if_stopped: RaiseIfStopped = lambda: None) -> Preflight:
    """Time a step of the model, and reckon with it. Changes nothing of the run."""
    settings = trainer.settings
    step = step_seconds(trainer, raise_if_stopped)
    image = step * settings.sampler.steps
    return Preflight(
        parameters=sum(weight.numel() for weight in _frozen(trainer.model)),
        memory_needed=memory_needed(trainer),
        memory_there=device_memory(trainer.model.device),
        seconds_per_image=image,
        images=settings.batch,
        rounds=settings.rounds or ceil(settings.labels / settings.batch),
        round_seconds=image * settings.batch + update_seconds(trainer, step),
    )


def step_seconds(trainer: Trainer, raise_if_stopped: RaiseIfStopped) -> float:
    """Seconds of one denoising step of one image, guidance included; the second of two images."""

    def seconds() -> float:
        return timed(lambda: _sample_one(trainer, raise_if_stopped), trainer.model.device)

    seconds()
    return seconds() / STEPS


def _sample_one(trainer: Trainer, raise_if_stopped: RaiseIfStopped) -> None:
    settings = trainer.settings
    noise = torch.randn(trainer.model.latent_shape, generator=generator(0, "probe", 0, 0))
    request = SampleRequest(0, 0, range(1), noise[None], purpose="probe")
    sampler = replace(settings.sampler, steps=min(STEPS, settings.sampler.steps))
    for _ in sample_batches(
        trainer.model, settings.prompt, sampler, request, 1, lambda done: raise_if_stopped()
    ):
        pass


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, until the device has finished."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def update_seconds(trainer: Trainer, step: float) -> float:
    """Seconds of a round's update. step: of a denoising step of one image."""
    size = trainer.round_size
    return forward_passes(network_calls(trainer.settings, size)) * step / size.rows


def memory_needed(trainer: Trainer) -> int:
    """Bytes at the peak of a round in which the network computes one row a pass."""
    settings, found = trainer.settings, footprint_of(trainer.model)
    weights = float(sum(weight.nbytes for weight in _frozen(trainer.model)))
    if settings.offload:
        weights *= found.kept.weights / found.parameters
    checkpointed = settings.gradient_checkpointing != "off"
    return int(weights + found.beside(1, checkpointed=checkpointed))


def _frozen(model: Model) -> list[torch.Tensor]:
    return [weight for weight in model.network.parameters() if not weight.requires_grad]


def device_memory(device: torch.device) -> int | None:
    """Bytes of the GPU's memory; None on a CPU."""
    return int(torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else None
