"""What a model's prediction means: the way from noise to pictures, and from pictures to noise.

A model has one `Process`; sampling and both updates go through it. There are two: `ddim.Diffusion`
for models that predict noise or v, and `flow.Flow` for rectified flows. Timesteps are the
process's own numbers (their dtype too), always on the CPU.
"""

from typing import Protocol

from torch import Tensor


class Process(Protocol):
    """A Gaussian path between pictures x_0 and noise, and Gaussian steps back along it."""

    def steps(self, count: int) -> tuple[Tensor, Tensor]:
        """Timesteps and the ones they go to, (T,) each, the noisiest first."""
        ...

    def std(self, timesteps_B: Tensor, prev_timesteps_B: Tensor, eta: float) -> Tensor:
        """Standard deviation of each step, (B,), float64, CPU; 0 for eta = 0."""
        ...

    def step(
        self,
        output: Tensor,
        timesteps_B: Tensor,
        prev_timesteps_B: Tensor,
        x_t: Tensor,
        eta: float,
    ) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B, 1, 1, 1) of the next x, given x_t.

        output: the model's on (x_t, timesteps). The mean is differentiable. eta in 0..1.
        """
        ...

    def timesteps_at(self, share_B: Tensor) -> Tensor:
        """The timesteps at these parts of the way from pictures (0) to noise (1): (B,)."""
        ...

    def noised(self, clean: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """x_t of these pictures and this noise."""
        ...

    def target(self, clean: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """What a perfect model would predict of `noised`."""
        ...

    def clean(self, output: Tensor, x_t: Tensor, timesteps_B: Tensor) -> Tensor:
        """The pictures that a prediction sees in x_t."""
        ...


def per_image(values_B: Tensor, like: Tensor) -> Tensor:
    """One number an image, shaped (B, 1, 1, 1) to multiply latents, in their dtype and device."""
    return values_B.to(like.device, like.dtype).view(-1, *([1] * (like.dim() - 1)))
