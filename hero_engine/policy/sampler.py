"""From noise to images, keeping the denoising steps that will be trained.

The model's process (`models/ddim.py`, `models/flow.py`) gives each step's mean and standard
deviation. With eta > 0 that is a Gaussian policy whose action is the next x, which DDPO trains.

As in ddpo-pytorch, log-probabilities are means over latent elements. A step without noise, such as
the last one of a schedule that ends at alpha = 1, has no density and is not drawn for training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log, pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hero_engine.config.settings import SamplerSettings
from hero_engine.core.batch import Batch, Trajectory
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.numbering import picture_name, round_name
from hero_engine.core.padding import cut
from hero_engine.core.rng import Purpose, generator, normal_each
from hero_engine.models.grouped_conditioning import GroupedConditioning, Prompts

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

MIN_STD = 1e-6

OnStep = Callable[[int, int], None]
"""Called with (done, total) after every denoising step; it may raise."""
OnImages = Callable[[float], None]
"""Called with the number of images done, fractions included, after every step; it may raise."""


@dataclass(frozen=True)
class KeptSteps:
    """Which denoising steps an update trains: `per_image` of them, drawn from `window`.

    per_image: 0 for an update that needs no trajectory. window: a part of the sampler's steps, 0
    is the noisiest, 1 the last.
    """

    per_image: int = 0
    window: tuple[float, float] = (0.0, 1.0)


NO_STEPS = KeptSteps()


@dataclass(frozen=True)
class SampleRequest:
    """Images to sample: their indices in the round, in rising order, and what each starts from.

    Each image has its own random stream, seeded by (seed, purpose, round, image): it is the same in
    every microbatch, up to float rounding of about 1e-5. kept_steps_B_S: from
    `pick_training_steps`; None keeps no step. groups: the number of each image's prompt, (B,)
    int64; None: all are of the first.
    """

    seed: int
    round: int
    images: Sequence[int]
    noises_B_C_H_W: Tensor
    kept_steps_B_S: Tensor | None = None
    purpose: Purpose = "step"
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, places: Tensor) -> SampleRequest:
        """The images at these places of the request (int64)."""
        kept = self.kept_steps_B_S
        return SampleRequest(
            self.seed,
            self.round,
            tuple(self.images[place] for place in places.tolist()),
            self.noises_B_C_H_W[places],
            None if kept is None else kept[places],
            self.purpose,
            None if self.groups is None else self.groups[places],
        )


def pick_training_steps(
    model: Model,
    settings: SamplerSettings,
    kept: KeptSteps,
    images: Sequence[int],
    seed: int,
    round: int,
) -> Tensor:
    """Which denoising steps of each image will be trained, drawn before any is sampled.

    Returns (len(images), S) int64 indices into the sampler's steps, rising, without repeats in a
    row. S is `kept.per_image`, or fewer where the window has fewer steps with noise. ValueError
    where it has none (eta = 0, or an empty window).
    """
    noisy = noisy_steps(model, settings, kept)
    if len(noisy) == 0:
        raise ValueError(f"no denoising step in the window {kept.window} has noise (eta = 0?)")
    count = min(kept.per_image, len(noisy))
    rows = []
    for image in images:
        order = torch.randperm(len(noisy), generator=generator(seed, "pick", round, image))
        rows.append(noisy[order[:count].sort().values])
    return torch.stack(rows)


def noisy_steps(model: Model, settings: SamplerSettings, kept: KeptSteps) -> Tensor:
    """The denoising steps with noise inside the window, as indices (int64)."""
    stds = model.process.std(*model.process.steps(settings.steps), settings.eta)
    place = (torch.arange(len(stds)) + 0.5) / len(stds)
    inside = (place > kept.window[0]) & (place < kept.window[1])
    return ((stds > MIN_STD) & inside).nonzero().flatten()


def rows_of_image(model: Model, settings: SamplerSettings, kept: KeptSteps) -> int:
    """Rows that an image is in training: one for each kept step; at least 1."""
    return max(1, min(kept.per_image, len(noisy_steps(model, settings, kept))))


def log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """log N(x; mean, std^2) averaged (not summed) over an image's elements: (B,).

    ddpo-pytorch's scale; a clip range of 1e-4 is meant on it. ValueError if a standard
    deviation is (nearly) zero: there is no density then.
    """
    if bool((std <= MIN_STD).any()):
        raise ValueError("a denoising step without noise has no density (eta = 0 or the last step)")
    log_density = -(((x - mean) / std) ** 2) / 2 - std.log() - log(2 * pi) / 2
    return log_density.flatten(1).mean(1)


def sample_batches(
    model: Model,
    prompts: Prompts,
    settings: SamplerSettings,
    request: SampleRequest,
    microbatch: int,
    on_images: OnImages = lambda done: None,
) -> Iterator[Batch]:
    """Sample the request, `microbatch` images at a time, in order.

    HeroError, exit code 1, if the model produces NaN.
    """
    done, conditioning = 0, GroupedConditioning.of_sampler(prompts, settings)
    for microbatch_places in torch.split(torch.arange(len(request)), microbatch):
        rows, made, order = request.rows(microbatch_places), list[Batch](), list[Tensor]()
        for sized, places in conditioning.by_size(model, rows.groups):
            part = rows if places is None else rows.rows(places)

            def on_step(step: int, steps: int, done: int = done, count: int = len(part)) -> None:
                on_images(done + count * step / steps)

            if conditioning.has_sizes:
                part = replace(part, noises_B_C_H_W=cut(part.noises_B_C_H_W, sized.latent_shape))
            made.append(sample(sized, prompts, settings, part, on_step))
            _check_finite(made[-1], part)
            order.append(torch.arange(len(part)) if places is None else places)
            done += len(part)
        if conditioning.has_sizes:
            made = [each.padded(request.noises_B_C_H_W.shape) for each in made]
        yield made[0] if len(made) == 1 else Batch.cat(made).rows(torch.cat(order).argsort())


@torch.no_grad()
def sample(
    model: Model,
    prompts: Prompts,
    settings: SamplerSettings,
    request: SampleRequest,
    on_step: OnStep = lambda done, total: None,
) -> Batch:
    """The request's images as latents, in one batch; every record is on the CPU.

    They have one size, the model's.
    """
    timesteps, prev_timesteps = model.process.steps(settings.steps)
    conditioning = GroupedConditioning.of_sampler(prompts, settings)
    noises, count = request.noises_B_C_H_W, len(request)
    randoms = [generator(request.seed, request.purpose, request.round, i) for i in request.images]
    kept = request.kept_steps_B_S
    recorder = None if kept is None else _Recorder(kept, noises, timesteps.dtype)
    x_t = noises.to(model.device)
    with model.merged():
        for step in range(settings.steps):
            timestep = timesteps[step].expand(count)
            prev = prev_timesteps[step].expand(count)
            output = conditioning.predict(model, x_t, timestep, request.groups)
            mean, std = model.process.step(output, timestep, prev, x_t, settings.eta)
            x_next = mean
            if settings.eta > 0:
                noise = normal_each(randoms, x_t.shape[1:], x_t.dtype)
                x_next = mean + std * noise.to(model.device)
            if recorder is not None:
                recorder.keep(step, _Transition(timestep, prev, x_t, x_next, mean, std))
            x_t = x_next
            on_step(step + 1, settings.steps)
    trajectory = None if recorder is None else recorder.trajectory
    return Batch(noises.cpu(), x_t.cpu(), trajectory, request.groups)


@dataclass(frozen=True)
class _Transition:
    """One denoising step of a batch."""

    timestep_B: Tensor
    prev_timestep_B: Tensor
    x_t: Tensor
    x_next: Tensor
    mean: Tensor
    std: Tensor


class _Recorder:
    """Copies the kept steps into CPU tensors while they are sampled."""

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

    def keep(self, step: int, now: _Transition) -> None:
        images, slots = (self.kept_steps_B_S == step).nonzero(as_tuple=True)
        if len(images) == 0:
            return
        rows = images.to(now.x_t.device)
        to, at = self.trajectory, (images, slots)
        to.timesteps_B_S[at] = now.timestep_B[images]
        to.prev_timesteps_B_S[at] = now.prev_timestep_B[images]
        to.latents_B_S_C_H_W[at] = now.x_t[rows].cpu()
        to.next_latents_B_S_C_H_W[at] = now.x_next[rows].cpu()
        to.log_probs_B_S[at] = log_prob(now.x_next[rows], now.mean[rows], now.std[rows]).cpu()


def _check_finite(batch: Batch, request: SampleRequest) -> None:
    finite = batch.latents_B_C_H_W.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        image = request.images[int((~finite).nonzero()[0])]
        raise HeroError(
            f"the model produced NaN for {picture_name(image)} of {round_name(request.round)}; "
            "run hero resume to try again from the last checkpoint, or hero resume --from-round N "
            "to go back further",
            exit_code=ExitCode.FAILED,
        )
