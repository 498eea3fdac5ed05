"""What a new run will need, shown before its first picture: memory, and the time of a session.

The time of a denoising step is measured on the run's own model and device. All else is arithmetic:
an image takes its steps, and a trained row, forward and backward, takes BACKWARD steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil

import torch

from hero_engine.config.settings import Settings
from hero_engine.core.events import Preflight
from hero_engine.core.rng import generator
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import SampleRequest, sample_batches
from hero_engine.training.progress_reports import RaiseIfStopped
from hero_engine.training.trainer import Trainer

STEPS = 2
"""Denoising steps of the timed image, and of the one before it that warms the device up."""

BACKWARD = 4.0
"""Denoising steps that a trained row takes: forward twice with gradient checkpointing, backward."""

ADAM = 4
"""Float32 numbers for each trained weight: itself, its gradient, two moments."""


def preflight(trainer: Trainer, raise_if_stopped: RaiseIfStopped = lambda: None) -> Preflight:
    """Time a step of the model, and reckon with it. Changes nothing of the run."""
    settings = trainer.settings
    step = step_seconds(trainer, raise_if_stopped)
    image = step * settings.sampler.steps
    return Preflight(
        parameters=sum(weight.numel() for weight in _frozen(trainer.model)),
        memory_needed=memory_needed(trainer.model),
        memory_there=device_memory(trainer.model.device),
        seconds_per_image=image,
        images=settings.batch,
        rounds=settings.rounds or ceil(settings.labels / settings.batch),
        round_seconds=image * settings.batch + BACKWARD * step * trained_rows(settings),
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


def trained_rows(settings: Settings) -> int:
    """Rows (an image at a timestep) that the update of a round trains."""
    match settings.update:
        case "ddpo":
            ddpo = settings.ddpo
            return settings.batch * ddpo.steps_per_image * ddpo.inner_epochs
        case "d3po":
            return 2 * settings.d3po.pairs * settings.d3po.steps_per_image
        case "sft":
            return settings.sft.steps * settings.sft.images_per_update
        case _:
            forward = settings.forward
            images = forward.good_images_per_update + forward.bad_images_per_update
            return forward.steps * images


def memory_needed(model: Model) -> int:
    """Bytes that stay: the weights of network and VAE, and the LoRA's with their optimizer.

    Activations come on top; how many depends on the microbatch, which shrinks where memory ends.
    """
    frozen = sum(weight.nbytes for weight in _frozen(model))
    vae = sum(weight.nbytes for weight in model.vae.parameters())
    trained = sum(weight.numel() for weight in model.lora_parameters())
    return int(frozen + vae + ADAM * 4 * trained)


def _frozen(model: Model) -> list[torch.Tensor]:
    return [weight for weight in model.network.parameters() if not weight.requires_grad]


def device_memory(device: torch.device) -> int | None:
    """Bytes of the GPU's memory; None on a CPU."""
    return int(torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else None
