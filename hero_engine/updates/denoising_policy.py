"""The sampler as a Gaussian policy: how likely its kept steps are under the current weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import SamplerSettings, Settings
from hero_engine.core.batch import Trajectory
from hero_engine.core.collective import Microbatches
from hero_engine.core.errors import HeroError
from hero_engine.models.grouped_conditioning import GroupedConditioning, Prompts
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps, log_prob, rows_of_image


class DenoisingPolicy:
    """p(x_{t-1} | x_t) of the model with this sampler and prompts; guidance as in sampling."""

    def __init__(self, model: Model, sampler: SamplerSettings, prompts: Prompts) -> None:
        self.model, self.sampler = model, sampler
        self.conditioning = GroupedConditioning.of_sampler(prompts, sampler)

    @classmethod
    def of_run(cls, settings: Settings, model: Model) -> Self:
        """The policy that samples a run's images."""
        return cls(model, settings.sampler, settings.plan.kinds)

    def check_noise(self, update: str) -> None:
        """HeroError, exit code 2, if no denoising step has noise: `update` learns from no other."""
        sampler, process = self.sampler, self.model.process
        if bool((process.std(*process.steps(sampler.steps), sampler.eta) > 0).any()):
            return
        raise HeroError(
            f"update {update!r} learns from steps with noise, and sampler.steps {sampler.steps} "
            f"with sampler.eta {sampler.eta:g} has none: raise sampler.eta or sampler.steps, or "
            "use --update forward"
        )

    def rows_of_image(self, kept: KeptSteps) -> int:
        """Rows that an image is in training."""
        return rows_of_image(self.model, self.sampler, kept)

    def log_probs(self, rows: Trajectory, group_B: Tensor | None = None) -> Tensor:
        """(B, S), differentiable. All B x S steps of a group are one forward pass.

        group_B: the number of each image's group; None: all are of the first.
        """
        parts = list(self.conditioning.by_size(self.model, group_B))
        if len(parts) == 1:
            return self._of_one_size(parts[0][0], rows, group_B)
        assert group_B is not None
        places = [each for _, each in parts if each is not None]
        found = [
            self._of_one_size(model, rows.rows(own), group_B[own])
            for (model, _), own in zip(parts, places, strict=True)
        ]
        return torch.cat(found)[torch.cat(places).argsort().to(found[0].device)]

    def _of_one_size(self, model: Model, rows: Trajectory, group_B: Tensor | None) -> Tensor:
        """The same, of images that have the size of the model's."""
        if self.conditioning.has_sizes:
            rows = rows.cut(model.latent_shape)
        timesteps = rows.timesteps_B_S.flatten()
        x_t = rows.latents_B_S_C_H_W.flatten(0, 1).to(model.device)
        x_next = rows.next_latents_B_S_C_H_W.flatten(0, 1).to(model.device)
        groups = None if group_B is None else group_B.repeat_interleave(rows.timesteps_B_S.shape[1])
        output = self.conditioning.predict(model, x_t, timesteps, groups)
        mean, std = model.process.step(
            output, timesteps, rows.prev_timesteps_B_S.flatten(), x_t, self.sampler.eta
        )
        return log_prob(x_next, mean, std).view_as(rows.timesteps_B_S)

    @torch.no_grad()
    def log_probs_in_float32(self, rows: Trajectory, group_B: Tensor | None = None) -> Tensor:
        """(B, S): as `log_probs`, computed in float32 at any precision of the network."""
        with self.model.in_float32():
            return self.log_probs(rows, group_B)

    @torch.no_grad()
    def all_log_probs(
        self,
        trajectory: Trajectory,
        group_B: Tensor,
        microbatches: Microbatches,
        log_probs: Callable[[Trajectory, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Of every image, (B, S) on the CPU; each process computes its share.

        log_probs: how; by default as training does.
        """
        of, rows = log_probs or self.log_probs, trajectory.every_row
        none = trajectory.log_probs_B_S.new_zeros(0, 1)
        parts = [
            of(trajectory.at(some), group_B[some[:, 0]]).cpu() for some in microbatches.of(rows)
        ]
        found = microbatches.collective.all_gather(torch.cat([none, *parts]))
        return found.view_as(trajectory.log_probs_B_S)
