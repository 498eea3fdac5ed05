"""How far an update moved the model, measured on fixed inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.rng import generator
from hero_engine.models.grouped_conditioning import GroupedConditioning, Prompts
from hero_engine.models.pipeline import Model
from hero_engine.updates.noising import noised

PROBES = 8


class Probe:
    """The model's outputs on a few (x_t, t), before and after an update.

    8 of the given final latents, noised to timesteps spread evenly over the schedule.
    """

    def __init__(self, model: Model, prompts: Prompts, pictures: Batch, seed: int) -> None:
        self.model, self.conditioning = model, GroupedConditioning.plain(prompts)
        places = torch.arange(PROBES) % len(pictures)
        clean = pictures.latents_B_C_H_W[places].to(model.device)
        self.group_R = pictures.group_ids[places]
        self.timesteps = model.process.timesteps_at((torch.arange(PROBES) + 0.5) / PROBES)
        random = generator(seed, "probe", 0, 0)
        self.x_t, _ = noised(model, clean, self.timesteps, random)
        self.before = self._predict()

    def change(self) -> float:
        """|after - before| / |before| over all probes."""
        return float((self._predict() - self.before).norm() / self.before.norm())

    @torch.no_grad()
    def _predict(self) -> Tensor:
        return self.conditioning.predict(self.model, self.x_t, self.timesteps, self.group_R)
