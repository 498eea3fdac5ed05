"""Noise to pictures by DDIM, keeping the steps that will be trained with their log-probabilities.

x_{t-1} = sqrt(a_prev) x0_hat + sqrt(1 - a_prev - sigma_t^2) eps_hat + sigma_t n   (DDIM, eq. 12)
sigma_t^2 = eta^2 (1 - a_prev)/(1 - a_t) (1 - a_t/a_prev)                          (DDIM, eq. 16)

With eta > 0 this is a Gaussian policy whose action is x_{t-1}, which DDPO trains.

As ddpo-pytorch, log-probabilities are means over latent elements. Unlike it, a standard deviation
is never clamped (there to 1e-6): a step whose noise is that small, such as the last one of a
schedule that ends at alpha = 1, carries no usable density and is not drawn for training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hero_engine.config import SamplerSettings
from hero_engine.records import Batch, Trajectory
from hero_engine.seeds import Purpose, generator, normal_each

if TYPE_CHECKING:
    from hero_engine.pipeline import Model

MIN_STD = 1e-6

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Schedule:
    """The steps of one sampling run. T of them, in order, the noisiest first.

    timesteps_T and prev_timesteps_T are int64; a negative previous timestep means the end of the
    chain, where alpha is `final_alpha` (1, or the first alpha: the scheduler's choice).
    """

    timesteps_T: Tensor
    prev_timesteps_T: Tensor
    alphas_cumprod: Tensor
    final_alpha: Tensor
    prediction_type: str

    @classmethod
    def of(cls, model: "Model", steps: int) -> "Schedule":
        """The model's own DDIM schedule with this many steps."""
        scheduler = model.scheduler
        scheduler.set_timesteps(steps)
        timesteps = scheduler.timesteps.to("cpu", torch.int64)
        stride = scheduler.config.num_train_timesteps // steps
        return cls(
            timesteps,
            timesteps - stride,
            scheduler.alphas_cumprod,
            scheduler.final_alpha_cumprod,
            scheduler.config.prediction_type,
        )

    def stds(self, eta: float) -> Tensor:
        """sigma_t of every step, float64: (T,)."""
        alphas, previous = _alphas(
            self.timesteps_T,
            self.prev_timesteps_T,
            self.alphas_cumprod.double(),
            self.final_alpha.double(),
        )
        return _std(alphas, previous, eta)


def pick_training_steps(
    model: "Model",
    settings: SamplerSettings,
    steps_per_image: int,
    count: int,
    seed: int,
    round: int,
) -> Tensor:
    """Which denoising steps of each image will be trained, drawn before any is sampled.

    Returns (count, S) int64 indices into the sampler's steps, rising, without repeats in a row.
    S is `steps_per_image`, or fewer where the sampler has fewer steps with noise in them.
    ValueError where it has none (eta = 0).
    """
    noisy = (Schedule.of(model, settings.steps).stds(settings.eta) > MIN_STD).nonzero().flatten()
    if len(noisy) == 0:
        raise ValueError("no denoising step has noise: eta must be above 0")
    kept = min(steps_per_image, len(noisy))
    rows = []
    for index in range(count):
        order = torch.randperm(len(noisy), generator=generator(seed, "pick", round, index))
        rows.append(noisy[order[:kept].sort().values])
    return torch.stack(rows)


def ddim_mean_and_std(
    model_output: Tensor,
    timestep: Tensor,
    prev_timestep: Tensor,
    x_t: Tensor,
    alphas_cumprod: Tensor,
    final_alpha: Tensor,
    eta: float,
    prediction_type: str,
) -> tuple[Tensor, Tensor]:
    """Mean (B, C, H, W) and standard deviation (B, 1, 1, 1) of x_{t-1} given x_t.

    timestep, prev_timestep: (B,) int64. eta in 0..1. The schedule's numbers are worked out in
    double precision on alphas_cumprod's device (the CPU), then go to x_t's device and dtype.
    prediction_type: "epsilon", "v_prediction" or "sample"; ValueError for any other.
    """
    alpha, previous = _alphas(
        timestep, prev_timestep, alphas_cumprod.double(), final_alpha.double()
    )
    std = _std(alpha, previous, eta)
    direction = (1 - previous - std**2).clamp(min=0).sqrt()
    x_0, noise = split_prediction(model_output, x_t, per_image(alpha, x_t), prediction_type)
    mean = per_image(previous.sqrt(), x_t) * x_0 + per_image(direction, x_t) * noise
    return mean, per_image(std, x_t)


def per_image(values_B: Tensor, like: Tensor) -> Tensor:
    """One number an image, shaped (B, 1, 1, 1) to multiply latents, in their dtype and device."""
    return values_B.to(like.device, like.dtype).view(-1, *([1] * (like.dim() - 1)))


def split_prediction(
    model_output: Tensor, x_t: Tensor, alpha: Tensor, prediction_type: str
) -> tuple[Tensor, Tensor]:
    """What a prediction says of x_0 and of the noise in x_t = sqrt(a) x_0 + sqrt(1 - a) noise."""
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    if prediction_type == "epsilon":
        return (x_t - sigma * model_output) / signal, model_output
    if prediction_type == "v_prediction":
        return signal * x_t - sigma * model_output, signal * model_output + sigma * x_t
    if prediction_type == "sample":
        return model_output, (x_t - signal * model_output) / sigma
    raise ValueError(
        f"prediction type {prediction_type!r}: known are epsilon, v_prediction, sample"
    )


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
    schedule = Schedule.of(model, settings.steps)
    positive, negative = model.encode_prompt(prompt), None
    if settings.guidance > 1:
        negative = model.encode_prompt(settings.negative_prompt)
    count = len(noises_B_C_H_W)
    randoms = [generator(seed, purpose, round, first_index + i) for i in range(count)]
    recorder = None if kept_steps_B_S is None else _Recorder(kept_steps_B_S, noises_B_C_H_W)
    x_t = noises_B_C_H_W.to(model.device)
    for step in range(settings.steps):
        timestep = schedule.timesteps_T[step].expand(count)
        prev = schedule.prev_timesteps_T[step].expand(count)
        output = model.predict(x_t, timestep, positive, negative, settings.guidance)
        mean, std = model_step(schedule, output, timestep, prev, x_t, settings.eta)
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


def model_step(
    schedule: Schedule,
    output: Tensor,
    timestep: Tensor,
    prev_timestep: Tensor,
    x_t: Tensor,
    eta: float,
) -> tuple[Tensor, Tensor]:
    """`ddim_mean_and_std` on a schedule: the one path that sampling and training share."""
    return ddim_mean_and_std(
        output,
        timestep,
        prev_timestep,
        x_t,
        schedule.alphas_cumprod,
        schedule.final_alpha,
        eta,
        schedule.prediction_type,
    )


class _Recorder:
    """Copies the kept steps into CPU tensors as they pass by."""

    def __init__(self, kept_steps_B_S: Tensor, noises_B_C_H_W: Tensor) -> None:
        shape, latent = tuple(kept_steps_B_S.shape), tuple(noises_B_C_H_W.shape[1:])
        dtype = noises_B_C_H_W.dtype
        self.kept_steps_B_S = kept_steps_B_S.cpu()
        self.trajectory = Trajectory(
            torch.zeros(shape, dtype=torch.int64),
            torch.zeros(shape, dtype=torch.int64),
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


def _alphas(
    timestep: Tensor, prev_timestep: Tensor, alphas_cumprod: Tensor, final_alpha: Tensor
) -> tuple[Tensor, Tensor]:
    timestep = timestep.to(alphas_cumprod.device)
    prev_timestep = prev_timestep.to(alphas_cumprod.device)
    previous = alphas_cumprod[prev_timestep.clamp(min=0)]
    return alphas_cumprod[timestep], torch.where(prev_timestep >= 0, previous, final_alpha)


def _std(alpha: Tensor, previous: Tensor, eta: float) -> Tensor:
    variance = (1 - previous) / (1 - alpha) * (1 - alpha / previous)
    return eta * variance.clamp(min=0).sqrt()
