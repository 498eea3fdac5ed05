"""Supervised fine-tuning on the good images: what a practitioner would try first (a baseline).

It minimises the denoising loss |prediction - target|^2 on good images, noised; bad ones are not
used. Images, timesteps and noises are drawn as in the forward update. Good images of every round
are learned from, as the model moves; collecting all of them first is the case of one round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.config.update_settings import SftSettings
from hero_engine.core.collective import Collective, Microbatches
from hero_engine.models.grouped_conditioning import GroupedConditioning, Prompts
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import NO_STEPS
from hero_engine.updates.denoising_loss import prediction_loss
from hero_engine.updates.label_pool import Pool, label_pool
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId
from hero_engine.updates.network_calls import Call, RoundSize
from hero_engine.updates.noising import NoisedRows, RowSampler


class SftUpdate:
    """Denoising the good images better. Needs one good image and no trajectory."""

    name = "sft"
    kept_steps = NO_STEPS
    images_per_noise = 1

    def __init__(self, settings: SftSettings, model: Model, prompts: Prompts) -> None:
        self.settings, self.model = settings, model
        self.conditioning = GroupedConditioning.plain(prompts)
        self.microbatch = settings.images_per_update
        self.row_sampler = RowSampler(model, settings.images_per_update, bads=0)

    @classmethod
    def of_run(cls, settings: Settings, model: Model) -> Self:
        """The update of a run."""
        return cls(settings.sft, model, settings.plan.kinds)

    @classmethod
    def network_calls(cls, settings: Settings, size: RoundSize) -> Iterator[Call]:
        """One for every optimizer step."""
        for _ in range(settings.sft.steps):
            yield Call(settings.sft.images_per_update, trained=True)

    def lesson(self, feedback: Feedback) -> Pool | NoSignal:
        """The good images, of this round or of all, as the settings say."""
        pool = label_pool(feedback, self.settings.history).goods()
        return pool if len(pool) else NoSignal("no picture is good")

    def pseudo_lesson(self, images: PseudoLabelled) -> NoSignal:
        """Nothing: this baseline trusts labels alone."""
        return NoSignal("sft does not learn from pseudo-labels")

    def objective(
        self, lesson: Pool, update_id: UpdateId, microbatches: Microbatches
    ) -> SftObjective:
        """The denoising loss on images of the pool."""
        return SftObjective(self, lesson, update_id)


class SftObjective:
    """The mean denoising error of good images."""

    def __init__(self, update: SftUpdate, pool: Pool, update_id: UpdateId) -> None:
        self.update, self.pool, self.update_id = update, pool, update_id
        self.steps = update.settings.steps
        self.conditioning = update.conditioning

    def rows(self, step: int) -> NoisedRows:
        """The images of an optimizer step."""
        index = self.update_id.number * self.steps + step
        return self.update.row_sampler.draw(self.pool, self.update_id, index)

    def loss(self, rows: NoisedRows) -> Tensor:
        """The mean error of the prediction."""
        return self.conditioning.mean_by_size(self.update.model, rows, self._loss)

    def _loss(self, model: Model, rows: NoisedRows) -> Tensor:
        """Of rows that have one size, the model's."""
        prediction = self.conditioning.predict(model, rows.x_t, rows.timesteps_R, rows.groups)
        return prediction_loss(model.process, rows, prediction).mean()

    def metrics(self, collective: Collective) -> dict[str, float]:
        """Number of images in the pool, as metrics."""
        return self.pool.counts()
