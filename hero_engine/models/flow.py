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
s - tau^2/(2 t), which makes it Flow-GRPO's SDE with a = sqrt(2) eta, in the limit of many steps.
At the steps people take, eta = 0.5 has less noise than a = 0.7: with 28 steps of Stable Diffusion 3
(shift 3) tau is 0.79 to 0.89 of Flow-GRPO's a sqrt(t/(1 - t) d) over most of the way, and 0.45 at
the end.

What differs from Flow-GRPO: its unconditional branch has no gradient in training; here it has one
where training is guided. Its step is Euler-Maruyama's, which leaves too much noise in x_s at few
steps, and noise in the picture itself. Keeping the coefficients of x_0 and n those of the flow does
not (as Flow-CPS observes, arXiv 2509.05952): the last step has none, and is not trained. Nor has
one that ends below t = 0.02, as the last but one of Stable Diffusion 3 does: a density is as steep
as 1/tau, and would outweigh all other steps for a difference that nobody sees.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hero_engine.models.diffusion_process import per_image

NOISELESS = 0.02
"""Steps that end below this t are taken without noise."""

PROPORTIONAL = 1e-3
"""Timesteps whose noise levels are this near to t / train_steps are proportional to them."""

Numbers = npt.NDArray[np.float64]


Schedule = Callable[[int], tuple[Tensor, Tensor]]
"""Timesteps (T,) and noise levels (T + 1,), the last one 0, for T steps; float32, CPU."""


class Flow:
    """The process of a rectified flow. Timesteps are float64: what the network is called with.

    schedule: the pipeline's own, shifted as it wants for the picture's size. train_steps: the
    timestep of pure noise. Noise levels of timesteps that `steps` gave are the schedule's own
    numbers; of others they are t / train_steps, or lie on the schedule's curve where a pipeline's
    timesteps are not its noise levels (CogView4).
    """

    def __init__(self, schedule: Schedule, train_steps: int = 1000) -> None:
        self._schedule, self._train_steps = schedule, train_steps
        self._levels: dict[float, float] = {0.0: 0.0}
        self._curve = self._read_curve()

    def _read_curve(self) -> tuple[Numbers, Numbers] | None:
        """Rising noise levels and their timesteps; None if they are proportional."""
        timesteps, levels = (each.double().numpy() for each in self._schedule(self._train_steps))
        gap = np.abs(timesteps - self._train_steps * levels[:-1]).max()
        if gap < PROPORTIONAL * self._train_steps:
            return None
        return np.append(levels[::-1][1:], 1.0), np.append(timesteps[::-1], self._train_steps)

    def steps(self, count: int) -> tuple[Tensor, Tensor]:
        """See `Process.steps`."""
        timesteps, levels = self._schedule(count)
        times = timesteps.to("cpu", torch.float64)
        self._levels |= dict(zip(times.tolist(), levels.double().tolist()[:-1], strict=True))
        return times, torch.cat([times[1:], times.new_zeros(1)])

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
        """See `Process.step`. Without noise it is the scheduler's own step, to the bit."""
        std = self.std(timesteps_B, prev_timesteps_B, eta)
        t, s = self._time(timesteps_B), self._time(prev_timesteps_B)
        if eta == 0:
            return x_t + (per_image(s, x_t) - per_image(t, x_t)) * output, per_image(std, x_t)
        direction = (s**2 - std**2).clamp(min=0).sqrt()
        noise = x_t + per_image(1 - t, x_t) * output
        x_0 = self.clean(output, x_t, timesteps_B)
        mean = per_image(1 - s, x_t) * x_0 + per_image(direction, x_t) * noise
        return mean, per_image(std, x_t)

    def timesteps_at(self, share_B: Tensor) -> Tensor:
        """See `Process.timesteps_at`: the share is the noise level."""
        if self._curve is None:
            return share_B.double() * float(self._train_steps)
        levels, timesteps = self._curve
        return torch.from_numpy(np.interp(share_B.double().numpy(), levels, timesteps))

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
        """Noise levels in 0..1, float64."""
        levels = [self._level(each) for each in timesteps_B.double().tolist()]
        return torch.tensor(levels, dtype=torch.float64)

    def _level(self, timestep: float) -> float:
        known = self._levels.get(timestep)
        if known is not None:
            return known
        if self._curve is None:
            return timestep / self._train_steps
        levels, timesteps = self._curve
        return float(np.interp(timestep, timesteps, levels))
