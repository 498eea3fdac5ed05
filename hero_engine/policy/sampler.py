"""Noise to pictures, keeping the steps that will be trained with their log-probabilities.

The model's process (`ddim.py`, `flow.py`) gives each step's mean and standard deviation. With
eta > 0 that is a Gaussian policy whose action is the next x, which DDPO trains.

As ddpo-pytorch, log-probabilities are means over latent elements. Unlike it, a standard deviation
is never clamped (there to 1e-6): a step whose noise is that small, such as the last one of a
schedule that ends at alpha = 1, carries no usable density and is not drawn for training.
"""

from collections.abc import Callable
from math import log, pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hero_engine.config.settings import SamplerSettings
from hero_engine.core.batch import Batch, Trajectory
from hero_engine.core.rng import Purpose, generator, normal_each
from hero_engine.models.conditioning import Conditioning

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

MIN_STD = 1e-6

OnStep = Callable[[int, int], None]


def pick_training_steps(
    model: "Model",
    settings: SamplerSettings,
    steps_per_image: int,
    count: int,
    seed: int,
    round: int,
    window: tuple[float, float] = (0.0, 1.0),
    first_index: int = 0,
) -> Tensor:
    """Which denoising steps of each image will be trained, drawn before any is sampled.

    window: the part of the sampler's steps they are drawn from, 0 the noisiest, 1 the last.
    first_index: the first image's index in its round.
    Returns (count, S) int64 indices into the sampler's steps, rising, without repeats in a row.
    S is `steps_per_image`, or fewer where the window has fewer steps with noise in them.
    ValueError where it has none (eta = 0, or an empty window).
    """
    stds = model.process.std(*model.process.steps(settings.steps), settings.eta)
    place = (torch.arange(len(stds)) + 0.5) / len(stds)
    inside = (place > window[0]) & (place < window[1])
    noisy = ((stds > MIN_STD) & inside).nonzero().flatten()
    if len(noisy) == 0:
        raise ValueError(f"no denoising step in the window {window} has noise (eta = 0: none has)")
    kept = min(steps_per_image, len(noisy))
    rows = []
    for index in range(first_index, first_index + count):
        order = torch.randperm(len(noisy), generator=generator(seed, "pick", round, index))
        rows.append(noisy[order[:kept].sort().values])
    return torch.stack(rows)


def log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """log N(x; mean, std^2) averaged (not summed) over an image's elements: (B,).

    The mean is ddpo-pytorch's scale; a clip range of 1e-4 is meant on it.
    ValueError where a standard deviation is (nearly) zero: there is no density then.
    """
    if bool((std <= MIN_STD).any()):
        raise ValueError("a denoising step without noise has no density (eta = 0 or the last step)")
    log_density = -(((x - mean) / std) ** 2) / 2 - std.log() - log(2 * pi) / 2
    return log_density.flatten(1).mean(1)


@torch.no_grad()
def sample(
    model: "Model",
    prompt: str,
    noises_B_C_H_W: Tensor,
    settings: SamplerSettings,
    *,
    seed: int,
    round: int,
    first_index: int = 0,
    kept_steps_B_S: Tensor | None = None,
    on_step: OnStep | None = None,
    purpose: Purpose = "step",
) -> Batch:
    """One minibatch of pictures, as latents; every record comes back on the CPU.

    first_index: the first image's index in its round; it names the images' own generators, so a
    picture is the same in whatever minibatch it is made (up to float rounding, about 1e-5).
    kept_steps_B_S: from `pick_training_steps`, the rows of these images; None keeps no step.
    on_step(done, total) is called after every step and may raise, to stop: nothing is left changed.
    """
    timesteps, prev_timesteps = model.process.steps(settings.steps)
    conditioning = Conditioning.of_sampler(prompt, settings)
    count = len(noises_B_C_H_W)
    randoms = [generator(seed, purpose, round, first_index + i) for i in range(count)]
    recorder = (
        None
        if kept_steps_B_S is None
        else _Recorder(kept_steps_B_S, noises_B_C_H_W, timesteps.dtype)
    )
    x_t = noises_B_C_H_W.to(model.device)
    with model.merged():
        for step in range(settings.steps):
            timestep = timesteps[step].expand(count)
            prev = prev_timesteps[step].expand(count)
            output = model.predict(x_t, timestep, conditioning)
            mean, std = model.process.step(output, timestep, prev, x_t, settings.eta)
            x_next = mean
            if settings.eta > 0:
                noise = normal_each(randoms, x_t.shape[1:], x_t.dtype)
                x_next = mean + std * noise.to(model.device)
            if recorder is not None:
                recorder.keep(step, timestep, prev, x_t, x_next, mean, std)
            x_t = x_next
            if on_step is not None:
                on_step(step + 1, settings.steps)
    trajectory = None if recorder is None else recorder.trajectory
    return Batch(noises_B_C_H_W.cpu(), x_t.cpu(), trajectory)


class _Recorder:
    """Copies the kept steps into CPU tensors as they pass by."""

    def __init__(self, kept_steps_B_S: Tensor, noises_B_C_H_W: Tensor, times: torch.dtype) -> None:
        shape, latent = tuple(kept_steps_B_S.shape), tuple(noises_B_C_H_W.shape[1:])
        dtype = noises_B_C_H_W.dtype
        self.kept_steps_B_S = kept_steps_B_S.cpu()
        self.trajectory = Trajectory(
            torch.zeros(shape, dtype=times),
            torch.zeros(shape, dtype=times),
            torch.zeros(shape + latent, dtype=dtype),
            torch.zeros(shape + latent, dtype=dtype),
            torch.zeros(shape, dtype=dtype),
        )

    def keep(
        self,
        step: int,
        timestep: Tensor,
        prev: Tensor,
        x_t: Tensor,
        x_next: Tensor,
        mean: Tensor,
        std: Tensor,
    ) -> None:
        images, slots = (self.kept_steps_B_S == step).nonzero(as_tuple=True)
        if len(images) == 0:
            return
        rows = images.to(x_t.device)
        to, at = self.trajectory, (images, slots)
        to.timesteps_B_S[at] = timestep[images]
        to.prev_timesteps_B_S[at] = prev[images]
        to.latents_B_S_C_H_W[at] = x_t[rows].cpu()
        to.next_latents_B_S_C_H_W[at] = x_next[rows].cpu()
        to.log_probs_B_S[at] = log_prob(x_next[rows], mean[rows], std[rows]).cpu()
