"""The test at opening: does the driven pipeline make the pictures that its own call makes?

Two things. Rows of different timesteps in one call must be what each row gives alone; where they
are not, every row becomes a call of its own. And our sampling without noise must end in the
latents of the pipeline's own sampling; where it does not, the model is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.models.float32_pass import HALF
from hero_engine.models.pipeline_components import refuse_nan
from hero_engine.models.pipeline_driver import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hero_engine.models.conditioning import Conditioning
    from hero_engine.models.noise_schedules import NoiseSchedule
    from hero_engine.models.pipeline import Model

LARGEST = 128
"""Pixels of a tested picture's side: enough for several patches of every network."""

STEPS = 2
TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-2
"""Relative distance of two results that are the same: in float32, and in bf16 or fp16."""


@torch.no_grad()
def self_test(model: Model, noise: NoiseSchedule, conditionings: Iterable[Conditioning]) -> None:
    """HeroError, exit code 3, if the model cannot be driven."""
    for conditioning in conditionings:
        SelfTest(model, noise, conditioning).run()


class SelfTest:
    """One conditioning's."""

    def __init__(self, model: Model, noise: NoiseSchedule, conditioning: Conditioning) -> None:
        self.model, self.conditioning = model, conditioning
        sides = (min(side, LARGEST) for side in model.picture_size)
        self.arguments = model.arguments.sized(*sides)
        self.guided = self.arguments.guided(conditioning)
        self.process = model.process_of(noise, self.arguments)
        seen = model.driver.prepare(self.arguments.of(conditioning))
        random = torch.Generator().manual_seed(0)
        self.x = torch.randn(2, *seen.shape[1:], generator=random).to(model.device)
        self.tolerance = HALF_TOLERANCE if model.dtype in HALF else TOLERANCE

    def run(self) -> None:
        """See `self_test`."""
        self.model.driver.mixed[self.guided] = self._rows()
        ours = self._ours()
        if not bool(ours.isfinite().all()):
            for name, module in self.model.driver.pipeline.components.items():
                refuse_nan(name, module)
            raise HeroError(
                "it predicts NaN or infinity: its weights are too large for "
                f"{str(self.model.dtype).removeprefix('torch.')}",
                exit_code=ExitCode.ENVIRONMENT,
            )
        gap = distance(ours, self._pipelines_own())
        if not gap <= self.tolerance:
            raise HeroError(
                f"{type(self.model.driver.pipeline).__name__} cannot be trained: step by step it "
                f"makes other pictures than in one call (relative distance {gap:.2g})",
                exit_code=ExitCode.ENVIRONMENT,
            )

    def _rows(self) -> Rows:
        """How rows of different timesteps can be called."""
        times, _ = self.process.steps(4)
        pair = times[[0, 2]]
        alone = torch.cat([self._predict(self.x[i : i + 1], pair[i : i + 1]) for i in (0, 1)])
        for rows in get_args(Rows)[:-1]:
            self.model.driver.mixed[self.guided] = rows
            try:
                together = self._predict(self.x, pair)
            except (RuntimeError, ValueError, TypeError, IndexError):
                continue
            if distance(together, alone) <= self.tolerance:
                found: Rows = rows
                return found
        return "one by one"

    def _predict(self, x: Tensor, timesteps: Tensor) -> Tensor:
        times = timesteps.float() if timesteps.is_floating_point() else timesteps
        arguments = self.arguments.of(self.conditioning)
        return self.model.driver.predict(x, times, arguments, guided=self.guided)

    def _ours(self) -> Tensor:
        x = self.x
        for timestep, previous in zip(*self.process.steps(STEPS), strict=True):
            times = timestep.expand(len(x))
            output = self._predict(x, times).float()
            x, _ = self.process.step(output, times, previous.expand(len(x)), x, 0.0)
        return x

    def _pipelines_own(self) -> Tensor:
        arguments = self.arguments.of(self.conditioning, steps=STEPS)
        return self.model.driver.own_latents(self.x, arguments)


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|, over all elements."""
    if a.shape != b.shape:
        return float("inf")
    return float((a.float() - b.float()).norm() / b.float().norm())
