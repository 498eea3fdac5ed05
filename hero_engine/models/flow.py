"""Rectified flows (Stable Diffusion 3, Flux), sampled by an SDE with the flow's own marginals.

x_t = (1 - t) x_0 + t n, v = n - x_0, so that x0_hat = x_t - t v and n_hat = x_t + (1 - t) v.
The model is trained for the ODE dx = v dt, which has no density to train. Flow-GRPO (Liu et al.
2025, arXiv 2505.05470, section 4.2) gives the SDE with the same marginals at every t,
    dx = [v + g^2/(2 t) (x + (1 - t) v)] dt + g dw,     g^2 = a^2 t/(1 - t),     t from 1 to 0;
DanceGRPO (arXiv 2505.07818) has the same with another g.

A step from t to s here is DDIM's (eqs. 12 and 16) with 1 - t for sqrt(a) and t for sqrt(1 - a):
    x_s = (1 - s) x0_hat + sqrt(s^2 - tau^2) n_hat + tau n
    tau^2 = eta^2 (s/t)^2 (t^2 - ((1 - t) s/(1 - s))^2)
tau at eta = 1 is the exact standard deviation of x_s given x_t and x_0; eta = 0 is Euler's step of
the ODE. For a short step d = t - s, tau^2 goes to eta^2 2 t/(1 - t) d and sqrt(s^2 - tau^2) to
s - tau^2/(2 t), which makes it Flow-GRPO's SDE with a = sqrt(2) eta: their a = 0.7 is eta = 0.5.

What differs from Flow-GRPO: Euler-Maruyama leaves too much noise in x_s at few steps, and noise in
the picture itself. Keeping the coefficients of x_0 and n those of the flow does not (as Flow-CPS
observes, arXiv 2509.05952): the last step has none, and is not trained. Nor has one that ends below
t = 0.02, as the last but one of Stable Diffusion 3 does: a density is as steep as 1/tau, and would
outweigh all other steps for a difference that nobody sees.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hero_engine.models.diffusion_process import per_image

NOISELESS = 0.02
"""Steps that end below this t are taken without noise."""


@dataclass(frozen=True)
class Flow:
    """The process of a diffusers FlowMatchEulerDiscreteScheduler. Timesteps are float64, 1000 t.

    shift: the schedule's "mu" where it depends on the picture's size. even: t falls evenly from 1
    to 1/count before any shift, as Flux's pipeline wants it; else as the scheduler has it.
    """

    scheduler: Any
    shift: float | None = None
    even: bool = False

    def steps(self, count: int) -> tuple[Tensor, Tensor]:
        """See `Process.steps`."""
        if self.even:
            sigmas = np.linspace(1.0, 1 / count, count)
            self.scheduler.set_timesteps(sigmas=sigmas, mu=self.shift)
        else:
            self.scheduler.set_timesteps(count, mu=self.shift)
        timesteps = self.scheduler.timesteps.to("cpu", torch.float64)
        return timesteps, torch.cat([timesteps[1:], timesteps.new_zeros(1)])

    def std(self, timesteps_B: Tensor, prev_timesteps_B: Tensor, eta: float) -> Tensor:
        """See `Process.std`."""
        t, s = self._time(timesteps_B), self._time(prev_timesteps_B)
        variance = (s / t) ** 2 * (t**2 - ((1 - t) * s / (1 - s)) ** 2)
        return torch.where(s < NOISELESS, 0.0, eta * variance.clamp(min=0).sqrt())

    def step(
        self,
        output: Tensor,
        timesteps_B: Tensor,
        prev_timesteps_B: Tensor,
        x_t: Tensor,
        eta: float,
    ) -> tuple[Tensor, Tensor]:
        """See `Process.step`."""
        std = self.std(timesteps_B, prev_timesteps_B, eta)
        t, s = self._time(timesteps_B), self._time(prev_timesteps_B)
        direction = (s**2 - std**2).clamp(min=0).sqrt()
        noise = x_t + per_image(1 - t, x_t) * output
        x_0 = self.clean(output, x_t, timesteps_B)
        mean = per_image(1 - s, x_t) * x_0 + per_image(direction, x_t) * noise
        return mean, per_image(std, x_t)

    def timesteps_at(self, share_B: Tensor) -> Tensor:
        """See `Process.timesteps_at`: t is the share."""
        return share_B.double() * float(self.scheduler.config.num_train_timesteps)

    def noised(self, clean: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """See `Process.noised`."""
        t = self._time(timesteps_B)
        return per_image(1 - t, clean) * clean + per_image(t, clean) * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """See `Process.target`: the velocity, at every t."""
        return noise - clean

    def clean(self, output: Tensor, x_t: Tensor, timesteps_B: Tensor) -> Tensor:
        """See `Process.clean`."""
        return x_t - per_image(self._time(timesteps_B), x_t) * output

    def _time(self, timesteps_B: Tensor) -> Tensor:
        return timesteps_B.double() / float(self.scheduler.config.num_train_timesteps)


def shift_of(config: Any, patches: int) -> float:
    """The schedule's "mu" for a picture of so many patches: linear between the two it names."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    at_low, at_high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(at_low + (patches - low) * (at_high - at_low) / (high - low))
