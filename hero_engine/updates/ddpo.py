"""DDPO: a PPO-clipped policy gradient over denoising steps (paper, section 3; Black et al. 2023).

Each kept step x_t -> x_{t-1} is an action of a Gaussian policy. With A the image's advantage and
rho the ratio of the action's (element-averaged) likelihoods now and when it was sampled,
loss = mean max(-A rho, -A clip(rho, 1 - c, 1 + c)).

What differs from sony/hero and ddpo-pytorch, which it builds on:
- the steps of a microbatch are one batch of rows, not a loop; the gradient of an optimizer step is
  the mean over all its images and steps, as there, for any microbatch size;
- log-probabilities and ratios are computed from float32 latents and outputs, not float16 ones;
- in a lower precision than float32 the network's rounding is as large as a clip range of 1e-4. So
  there rho is computed in float32, by a second forward pass without gradients, and so are the
  likelihoods "when sampled", before the first optimizer step; the gradient of log p keeps the
  network's precision (`ratio_precision`);
- a step without noise (the last one of schedules that end at alpha = 1) is not trained; theirs has
  noise, since they clamp the timestep it leads to at 0;
- a last group smaller than `images_per_update` makes a step of its own; they need whole groups;
- with `inner_epochs` above 1 every epoch trains the same denoising steps; they draw new ones;
- an image whose reward is unknown is left out;
- `window` can restrict training to a part of the steps; the default is all, as there.

Before the first optimizer step rho is 1 up to float32 rounding (|rho - 1| < 1e-5; the clip range is
1e-4), because sampling merges the LoRA into the weights and uses other batch sizes. The metric
`first_ratio_error` is the largest |rho - 1| seen there.

With `sample_ahead` the images come from weights that lack the previous round (the behaviour
policy). rho is measured against those weights, so the objective is right for where the images come
from; but it starts away from 1, and a step that the previous round already moved beyond the clip
range, in the direction its image wants, has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.config.update_settings import DdpoSettings
from hero_engine.core.batch import Trajectory, distinct
from hero_engine.core.collective import Collective, Microbatches
from hero_engine.models.float32_pass import HALF
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps
from hero_engine.reward.rewards import group_advantages
from hero_engine.updates.denoising_policy import DenoisingPolicy
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId
from hero_engine.updates.network_calls import Call, RoundSize, parts

EQUAL_REWARDS = 1e-7
"""Rewards closer together than this are the same."""


@dataclass(frozen=True)
class RewardedTrajectories:
    """The kept steps of images, with each image's reward; NaN where it is unknown.

    group_B: the number of each image's prompt. behaviour_lora: the weights that sampled them; None
    for the current ones.
    """

    trajectory: Trajectory
    rewards_B: Tensor
    group_B: Tensor
    behaviour_lora: Mapping[str, Tensor] | None = None


class DdpoUpdate:
    """The paper's update. Needs kept denoising steps and eta > 0 (HeroError otherwise)."""

    name = "ddpo"
    images_per_noise = 1

    def __init__(self, settings: DdpoSettings, policy: DenoisingPolicy) -> None:
        policy.check_noise(self.name)
        self.settings, self.policy, self.model = settings, policy, policy.model
        self.kept_steps = KeptSteps(settings.steps_per_image, settings.window)
        self.rows_of_image = policy.rows_of_image(self.kept_steps)
        self.microbatch = settings.microbatch * self.rows_of_image

    @classmethod
    def of_run(cls, settings: Settings, model: Model) -> Self:
        """The update of a run. HeroError, exit code 2, if no denoising step has noise."""
        return cls(settings.ddpo, DenoisingPolicy.of_run(settings, model))

    @classmethod
    def network_calls(cls, settings: Settings, size: RoundSize) -> Iterator[Call]:
        """One for every microbatch; below float32 the images' likelihoods come first, and a second
        call computes the ratio.
        """
        own = settings.ddpo
        kept = min(own.steps_per_image, size.steps)
        exact = size.lower and own.ratio_precision == "float32"
        if size.lower:
            for rows in parts(size.images * kept, own.microbatch * kept):
                yield Call(rows * size.rows, trained=False, float32=exact)
        for _ in range(own.inner_epochs):
            for images in parts(size.images, own.images_per_update):
                for rows in parts(images * kept, own.microbatch * kept):
                    yield Call(rows * size.rows, trained=True)
                    if exact:
                        yield Call(rows * size.rows, trained=False, float32=True)

    def lesson(self, feedback: Feedback) -> RewardedTrajectories | NoSignal:
        """The round's kept steps and rewards. ValueError if no step was kept."""
        if feedback.rewards_B is None:
            return NoSignal("no picture was ever good, so there is nothing to compare with")
        batch = feedback.round.batch
        return _checked(
            RewardedTrajectories(
                _kept(batch.trajectory),
                feedback.rewards_B,
                batch.group_ids,
                feedback.behaviour_lora,
            )
        )

    def pseudo_lesson(self, images: PseudoLabelled) -> RewardedTrajectories | NoSignal:
        """The images' kept steps, rewarded by their probability of being good."""
        batch = images.batch
        trajectory = _kept(batch.trajectory)
        return _checked(RewardedTrajectories(trajectory, images.probability_B, batch.group_ids))

    def objective(
        self, lesson: RewardedTrajectories, update_id: UpdateId, microbatches: Microbatches
    ) -> ClippedPolicyGradient:
        """The clipped objective of these trajectories."""
        trajectory = lesson.trajectory
        if self.model.dtype in HALF:
            of = self.policy.log_probs_in_float32 if self.exact else self.policy.log_probs
            with self.model.with_lora(lesson.behaviour_lora):
                measured_B_S = self.policy.all_log_probs(
                    trajectory, lesson.group_B, microbatches, of
                )
            lesson = replace(lesson, trajectory=replace(trajectory, log_probs_B_S=measured_B_S))
        return ClippedPolicyGradient(self, lesson, update_id)

    @property
    def exact(self) -> bool:
        """Whether ratios come from a float32 pass: the network computes in less."""
        lower = self.model.dtype in HALF
        return lower and self.settings.ratio_precision == "float32"

    def rehearsal(self, lesson: RewardedTrajectories, images: int) -> Callable[[], None]:
        """A forward and backward pass over this many images, which changes no weight."""
        unrewarded = replace(lesson, rewards_B=torch.zeros(len(lesson.rewards_B)))
        objective = ClippedPolicyGradient(self, unrewarded, UpdateId(0, 0))

        def run() -> None:
            try:
                objective.loss(objective.of_images(torch.arange(images))).backward()  # type: ignore[no-untyped-call]
            finally:
                for weight in self.model.lora_parameters():
                    weight.grad = None

        return run


class ClippedPolicyGradient:
    """PPO's clipped objective. A step's rows are (image, kept step), all of its images.

    An advantage compares an image with the images of its prompt. Every inner epoch is a new shuffle
    of all images with a reward, `images_per_update` a step.
    """

    def __init__(
        self, update: DdpoUpdate, lesson: RewardedTrajectories, update_id: UpdateId
    ) -> None:
        self.settings, self.policy, self.exact = update.settings, update.policy, update.exact
        self.trajectory, self.group_B = lesson.trajectory, lesson.group_B
        cut = self.settings.advantage_clip
        self.advantages_B = group_advantages(lesson.rewards_B, lesson.group_B).clamp(-cut, cut)
        self._image_sets = list(self._shuffled(lesson.rewards_B, update_id))
        self.steps = len(self._image_sets)
        self._ratios, self._at_first_step, self._first_ratio_error = list[Tensor](), False, 0.0

    def rows(self, step: int) -> Tensor:
        """The rows of an optimizer step, (R, 2)."""
        self._at_first_step = step == 0
        return self.of_images(self._image_sets[step])

    def of_images(self, images: Tensor) -> Tensor:
        """All rows of these images, in order."""
        slots = torch.arange(self.trajectory.timesteps_B_S.shape[1])
        return torch.cartesian_prod(images, slots).view(-1, 2)

    def loss(self, rows: Tensor) -> Tensor:
        """The clipped loss, a mean over images and steps."""
        ratio = self._ratio(self.trajectory.at(rows), self.group_B[rows[:, 0]])
        self._record(ratio.detach())
        weight = -self.advantages_B[rows[:, 0]].to(ratio)[:, None]
        clip = self.settings.clip_range
        return torch.maximum(weight * ratio, weight * ratio.clamp(1 - clip, 1 + clip)).mean()

    def _ratio(self, steps: Trajectory, group_R: Tensor) -> Tensor:
        """rho of each step; where it is computed in float32, its gradient is not."""
        log_probs = self.policy.log_probs(steps, group_R)
        then = steps.log_probs_B_S.to(log_probs.device)
        if not self.exact:
            return (log_probs - then).exp()
        exact = (self.policy.log_probs_in_float32(steps, group_R) - then).exp()
        return exact * (log_probs - log_probs.detach()).exp()

    def metrics(self, collective: Collective) -> dict[str, float]:
        """Statistics of the ratios, over all images and steps trained on."""
        ratio = collective.all_gather(torch.cat([torch.zeros(0), *self._ratios]))
        errors = collective.all_gather(torch.tensor([self._first_ratio_error]).double())
        return {
            "clip_fraction": float(((ratio - 1).abs() > self.settings.clip_range).float().mean()),
            "ratio_mean": float(ratio.mean()),
            "approx_kl": float((ratio.log() ** 2).mean() / 2),
            "first_ratio_error": float(errors.max()),
        }

    def _shuffled(self, rewards_B: Tensor, update_id: UpdateId) -> Iterator[Tensor]:
        known = (~rewards_B.isnan()).nonzero().flatten()
        for epoch in range(self.settings.inner_epochs):
            random = update_id.generator(
                "update", update_id.number * self.settings.inner_epochs + epoch
            )
            order = known[torch.randperm(len(known), generator=random)]
            yield from torch.split(order, self.settings.images_per_update)

    def _record(self, ratio_B_S: Tensor) -> None:
        self._ratios.append(ratio_B_S.flatten().cpu())
        if self._at_first_step:
            error = float((ratio_B_S - 1).abs().max())
            self._first_ratio_error = max(self._first_ratio_error, error)


def _kept(trajectory: Trajectory | None) -> Trajectory:
    if trajectory is None:
        raise ValueError("ddpo needs the kept denoising steps of the images")
    return trajectory


def _checked(lesson: RewardedTrajectories) -> RewardedTrajectories | NoSignal:
    known = lesson.rewards_B[~lesson.rewards_B.isnan()]
    if len(known) == 0:
        return NoSignal("no picture has a reward")
    groups = (lesson.rewards_B[lesson.group_B == each] for each in distinct(lesson.group_B))
    known_by_group = [each[~each.isnan()] for each in groups]
    if all(float(each.max() - each.min()) < EQUAL_REWARDS for each in known_by_group if len(each)):
        return NoSignal("all pictures have the same reward")
    return lesson
