"""Models that predict noise, v or x_0, sampled by DDIM.

x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) n
x_{t-1} = sqrt(a_prev) x0_hat + sqrt(1 - a_prev - sigma_t^2) eps_hat + sigma_t n   (DDIM, eq. 12)
sigma_t^2 = eta^2 (1 - a_prev)/(1 - a_t) (1 - a_t/a_prev)                          (DDIM, eq. 16)

With eta > 0 this is a Gaussian policy whose action is x_{t-1}, which DDPO trains.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hero_engine.models.diffusion_process import per_image


@dataclass(frozen=True)
class Diffusion:
    """The process of a diffusers DDIM scheduler. Timesteps are int64; negative is the end.

    At the end alpha is the scheduler's choice: 1, or the first alpha.
    """

    scheduler: Any

    def steps(self, count: int) -> tuple[Tensor, Tensor]:
        """See `Process.steps`."""
        self.scheduler.set_timesteps(count)
        timesteps = self.scheduler.timesteps.to("cpu", torch.int64)
        return timesteps, timesteps - self.scheduler.config.num_train_timesteps // count

    def std(self, timesteps_B: Tensor, prev_timesteps_B: Tensor, eta: float) -> Tensor:
        """See `Process.std`."""
        return _std(*self._alphas(timesteps_B, prev_timesteps_B), eta)

    def step(
        self,
        output: Tensor,
        timesteps_B: Tensor,
        prev_timesteps_B: Tensor,
        x_t: Tensor,
        eta: float,
    ) -> tuple[Tensor, Tensor]:
        """See `Process.step`. The schedule's numbers are worked out in double precision.

        Without noise it is the scheduler's own step, whose numbers are float32, to the bit.
        """
        alpha, previous = self._alphas(timesteps_B, prev_timesteps_B)
        if eta == 0 and x_t.dtype != torch.float64:
            return self._scheduler_step(output, alpha.float(), previous.float(), x_t)
        std = _std(alpha, previous, eta)
        direction = (1 - previous - std**2).clamp(min=0).sqrt()
        x_0, noise = split_prediction(output, x_t, per_image(alpha, x_t), self._kind)
        mean = per_image(previous.sqrt(), x_t) * x_0 + per_image(direction, x_t) * noise
        return mean, per_image(std, x_t)

    def _scheduler_step(
        self, output: Tensor, alpha: Tensor, previous: Tensor, x_t: Tensor
    ) -> tuple[Tensor, Tensor]:
        x_0, noise = split_prediction(output, x_t, per_image(alpha, x_t), self._kind)
        direction = per_image((1 - previous).sqrt(), x_t) * noise
        mean = per_image(previous.sqrt(), x_t) * x_0 + direction
        return mean, per_image(torch.zeros_like(alpha), x_t)

    def timesteps_at(self, share_B: Tensor) -> Tensor:
        """See `Process.timesteps_at`; rounded down to a training timestep."""
        total = len(self.scheduler.alphas_cumprod)
        return (share_B * total).long().clamp(0, total - 1)

    def noised(self, clean: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """See `Process.noised`."""
        alpha = self._alpha(timesteps_B, clean)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """See `Process.target`."""
        if self._kind == "epsilon":
            return noise
        if self._kind == "v_prediction":
            alpha = self._alpha(timesteps_B, clean)
            return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        return clean

    def clean(self, output: Tensor, x_t: Tensor, timesteps_B: Tensor) -> Tensor:
        """See `Process.clean`."""
        return split_prediction(output, x_t, self._alpha(timesteps_B, x_t), self._kind)[0]

    @property
    def _kind(self) -> str:
        return str(self.scheduler.config.prediction_type)

    def _alpha(self, timesteps_B: Tensor, like: Tensor) -> Tensor:
        return per_image(self.scheduler.alphas_cumprod[timesteps_B], like)

    def _alphas(self, timesteps_B: Tensor, prev_timesteps_B: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self.scheduler.alphas_cumprod.double()
        final = self.scheduler.final_alpha_cumprod.double()
        previous = alphas[prev_timesteps_B.clamp(min=0)]
        return alphas[timesteps_B], torch.where(prev_timesteps_B >= 0, previous, final)


def split_prediction(
    output: Tensor, x_t: Tensor, alpha: Tensor, prediction_type: str
) -> tuple[Tensor, Tensor]:
    """What a prediction says of x_0 and of the noise in x_t = sqrt(a) x_0 + sqrt(1 - a) noise.

    prediction_type: "epsilon", "v_prediction" or "sample"; ValueError for any other.
    """
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    if prediction_type == "epsilon":
        return (x_t - sigma * output) / signal, output
    if prediction_type == "v_prediction":
        return signal * x_t - sigma * output, signal * output + sigma * x_t
    if prediction_type == "sample":
        return output, (x_t - signal * output) / sigma
    raise ValueError(
        f"prediction type {prediction_type!r}: known are epsilon, v_prediction, sample"
    )


def _std(alpha: Tensor, previous: Tensor, eta: float) -> Tensor:
    variance = (1 - previous) / (1 - alpha) * (1 - alpha / previous)
    return eta * variance.clamp(min=0).sqrt()
