"""Supervised fine-tuning on the good pictures: what a practitioner would try first.

The plain denoising loss |prediction - target|^2 on the good pictures, re-noised; bad ones are not
looked at. It is the forward update with nothing on its negative side, so both draw pictures,
timesteps and noises in the same way. Good pictures made by a model that has already moved are
learned from as well; a practitioner who collects all of them first is the case of one round.
"""

from dataclasses import fields
from typing import TYPE_CHECKING

from torch import Tensor

from hero_engine.config.settings import AdamWSettings, ForwardSettings, SftSettings
from hero_engine.distributed.collectives import ALONE, Ranks
from hero_engine.models.conditioning import Conditioning
from hero_engine.updates.base import Experience
from hero_engine.updates.forward import ForwardUpdate, Pool, Rows

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model


class SftUpdate(ForwardUpdate):
    """Denoising the good pictures better. Needs one good picture, and no trajectory."""

    name = "sft"

    def __init__(self, settings: SftSettings, model: "Model", ranks: Ranks = ALONE) -> None:
        shared = {each.name: getattr(settings, each.name) for each in fields(AdamWSettings)}
        forward = ForwardSettings(
            steps=settings.steps,
            good_images_per_update=settings.images_per_update,
            history=settings.history,
            **shared,
        )
        super().__init__(forward, model, ranks)

    def signal(self, experience: Experience) -> str:
        """Empty, or why this round teaches nothing."""
        return "" if len(self._pool(experience).chance_N) else "no picture is good"

    def _pool(self, experience: Experience) -> Pool:
        known = super()._pool(experience)
        good_N = known.chance_N == 1
        return Pool(known.latents_N_C_H_W[good_N], known.chance_N[good_N])

    def _loss(self, rows: Rows, conditioning: Conditioning, start: list[Tensor]) -> Tensor:
        """The mean error of the prediction itself."""
        return self._errors(rows, self.model.predict(rows.x_t, rows.timesteps, conditioning)).mean()
