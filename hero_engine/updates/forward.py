"""The forward-process update: good and bad images contrasted on their noised latents.

After DiffusionNFT (Zheng et al. 2025). Let x_t be an image noised to timestep t, `target` what the
network should predict there (noise, v, or a flow's velocity), `old` the prediction of a reference
policy and `new` that of the policy in training. Two implicit policies

    pred+ = (1 - b) old + b new        pred- = (1 + b) old - b new

are trained to denoise: pred+ good images, pred- bad ones. As pred- leads away from where `new`
leads, `new` moves towards good images and away from bad ones. No trajectory, no likelihood, no eta
and no guidance is needed.

The pieces: which images there are (`label_pool.py`), how a step's rows are drawn and noised
(`noising.py`), the error of a prediction (`denoising_loss.py`), the reference policy
(`reference_policy.py`) and the number of steps (below). docs/forward-update.md derives where a
round leads and what each setting changes; tests check those closed forms.

What differs from DiffusionNFT:
- the label itself, 0 or 1, is the weight of pred+ and pred-; NFT maps rewards of a group into 0..1;
- the reference is the frozen base or the policy at the start of the update; NFT keeps an
  exponential moving average;
- goods and bads are drawn in fixed numbers, from all labels so far or from this round's;
  `bad_weight` scales the part of the bads. NFT trains on its current samples as they come;
- the error is that of the prediction (the default), of x_0, or of x_0 normalised as in NFT;
- `kl_weight` adds kl_weight |new - base|^2, NFT's KL term, in every loss.

An image with a pseudo-label counts as good in proportion to its probability p, and as bad to 1 - p.
Where a round knows good images but no bad one, its unlabelled images count as bad
(`assume_unlabelled_bad`): plain fine-tuning would copy the few good ones instead. A round that
knows only bad images gives no direction, so it has no signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.config.update_settings import ForwardSettings
from hero_engine.core.collective import Collective, Microbatches
from hero_engine.models.diffusion_process import per_image
from hero_engine.models.grouped_conditioning import GroupedConditioning, Prompts
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import NO_STEPS
from hero_engine.updates.denoising_loss import LOSSES
from hero_engine.updates.label_pool import Pool, label_pool, pseudo_label_pool
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId
from hero_engine.updates.network_calls import Call, RoundSize
from hero_engine.updates.noising import NoisedRows, RowSampler
from hero_engine.updates.ranked_pool import ranked_pool
from hero_engine.updates.reference_policy import Reference, current_policy, frozen_base

NO_GOODS = NoSignal("no picture is good, so there is no direction to learn")


class ForwardUpdate:
    """The forward-process update. Learns from any labelled image; needs no trajectory."""

    name = "forward"
    kept_steps = NO_STEPS
    images_per_noise = 1

    def __init__(self, settings: ForwardSettings, model: Model, prompts: Prompts) -> None:
        self.settings, self.model = settings, model
        self.conditioning = GroupedConditioning.plain(prompts)
        self.microbatch = settings.good_images_per_update + settings.bad_images_per_update
        self.row_sampler = RowSampler(
            model,
            settings.good_images_per_update,
            settings.bad_images_per_update,
            settings.timesteps,
        )

    @classmethod
    def of_run(cls, settings: Settings, model: Model) -> Self:
        """The update of a run."""
        return cls(settings.forward, model, settings.plan.kinds)

    @classmethod
    def network_calls(cls, settings: Settings, size: RoundSize) -> Iterator[Call]:
        """Of every optimizer step: the reference's, ours, and the base's if it is another one."""
        own = settings.forward
        rows = own.good_images_per_update + own.bad_images_per_update
        for _ in range(own.steps):
            yield Call(rows, trained=False)
            yield Call(rows, trained=True)
            if own.kl_weight and own.old_policy != "base":
                yield Call(rows, trained=False)

    def lesson(self, feedback: Feedback) -> Pool | NoSignal:
        """The labelled images, of this round or of all, as the settings say.

        In joint self-training those of all rounds, and the unlabelled ones by rank.
        """
        settings = self.settings
        if feedback.joint is not None:
            known_goods = bool(feedback.memory.good_N.any())
            return ranked_pool(feedback.memory, feedback.joint) if known_goods else NO_GOODS
        pool = label_pool(
            feedback, settings.history, assume_negatives=settings.assume_unlabelled_bad
        )
        return _checked(pool)

    def pseudo_lesson(self, images: PseudoLabelled) -> Pool | NoSignal:
        """The images with their probabilities."""
        return _checked(pseudo_label_pool(images))

    def objective(
        self, lesson: Pool, update_id: UpdateId, microbatches: Microbatches
    ) -> ForwardObjective:
        """The contrast between good and bad images, against the reference as it is now."""
        reference = current_policy if self.settings.old_policy == "round" else frozen_base
        return ForwardObjective(self, lesson, update_id, reference(self.model))

    def steps(self, pool: Pool) -> int:
        """Number of optimizer steps for the pool; at least one."""
        if not self.settings.scale_steps_by_variance:
            return self.settings.steps
        return max(1, round(pool.contrast * self.settings.steps))


class ForwardObjective:
    """The mean loss of pred+ on good images and of pred-, weighted, on bad ones; the KL term."""

    def __init__(
        self, update: ForwardUpdate, pool: Pool, update_id: UpdateId, reference: Reference
    ) -> None:
        self.update, self.pool, self.update_id, self.reference = update, pool, update_id, reference
        self.settings, self.model = update.settings, update.model
        self.steps = update.steps(pool)
        self.conditioning = update.conditioning

    def rows(self, step: int) -> NoisedRows:
        """The images of an optimizer step."""
        index = self.update_id.number * self.settings.steps + step
        return self.update.row_sampler.draw(self.pool, self.update_id, index)

    def loss(self, rows: NoisedRows) -> Tensor:
        """The mean over the rows."""
        return self.conditioning.mean_by_size(self.model, rows, self._loss)

    def _loss(self, model: Model, rows: NoisedRows) -> Tensor:
        """Of rows that have one size, the model's."""
        with torch.no_grad(), self.reference():
            old = self._predict(rows)
        new = self._predict(rows)
        beta = self.settings.beta
        sign = per_image(torch.where(rows.good_R, beta, -beta), new)
        loss = LOSSES[self.settings.loss]
        errors_R = loss(model.process, rows, old + sign * (new - old))
        weights_R = torch.where(rows.good_R, 1.0, self.settings.bad_weight).to(errors_R)
        return (weights_R * errors_R).mean() + self._kl(new, old, rows)

    def metrics(self, collective: Collective) -> dict[str, float]:
        """Number of images in the pool, as metrics."""
        return self.pool.counts()

    def _kl(self, new: Tensor, old: Tensor, rows: NoisedRows) -> Tensor:
        """The cost of the distance to the base; `old` is the base where that is the reference."""
        if self.settings.kl_weight == 0:
            return new.new_zeros(())
        base = old
        if self.settings.old_policy != "base":
            with torch.no_grad(), self.model.base():
                base = self._predict(rows)
        return self.settings.kl_weight * (new - base).square().mean()

    def _predict(self, rows: NoisedRows) -> Tensor:
        return self.conditioning.predict(self.model, rows.x_t, rows.timesteps_R, rows.groups)


def _checked(pool: Pool) -> Pool | NoSignal:
    if len(pool) == 0:
        return NoSignal("no picture is labelled")
    if not pool.has_goods:
        return NO_GOODS
    return pool
