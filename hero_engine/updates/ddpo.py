"""DDPO: a PPO-clipped policy gradient over denoising steps (paper, section 3; Black et al. 2023).

Each kept step x_t -> x_{t-1} is an action of a Gaussian policy. With A the picture's advantage and
rho the ratio of the action's (element-averaged) likelihoods now and when it was drawn,
loss = mean max(-A rho, -A clip(rho, 1 - c, 1 + c)).

What differs from sony/hero and ddpo-pytorch, which it builds on:
- the steps of a minibatch are one batch of rows, not a loop; the gradient of an optimizer step is
  the mean over all its pictures and steps, as there, and does not depend on `minibatch`;
- latents, log-probabilities and ratios are float32, not float16, whatever the UNet's precision;
- in a lower precision than float32 the likelihoods "when drawn" are computed again, by the path
  that trains, before the first optimizer step: rounding there is larger than a clip range of 1e-4;
- steps without noise (the last one of some schedules) are not trained, where they clamp sigma;
- a last group smaller than `images_per_update` makes a step of its own, where they want whole ones;
- a picture whose reward is unknown is left out;
- `window` can keep the training to a part of the steps (the default is all, as there).

Before the first optimizer step rho is 1 up to float32 rounding (|rho - 1| < 1e-5; clip range 1e-4):
sampling adds the LoRA into the weights, and its minibatches have other sizes. The metric
`first_ratio_error` is the largest |rho - 1| seen there.

Not so where pictures are drawn ahead (the setting `sample_ahead`), by weights that lack the round
before. rho is then measured against those, so the objective stays the right one for where the
pictures come from. But it begins away from 1, and PPO's bound, which counts from those weights too,
leaves a step without gradient that the round before already moved beyond it in the direction its
picture wants.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hero_engine.config.settings import DdpoSettings, SamplerSettings
from hero_engine.core.batch import Trajectory
from hero_engine.core.errors import HeroError
from hero_engine.core.rng import generator
from hero_engine.distributed.collectives import ALONE, Ranks
from hero_engine.models.conditioning import Conditioning
from hero_engine.policy.sampler import log_prob
from hero_engine.reward.rewards import advantages
from hero_engine.updates.base import Experience, OnProgress, Optimizer, Probe

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

EQUAL_REWARDS = 1e-7


class DdpoUpdate:
    """The paper's update. Needs kept denoising steps and eta > 0 (HeroError otherwise)."""

    name = "ddpo"

    def __init__(
        self,
        settings: DdpoSettings,
        sampler: SamplerSettings,
        model: "Model",
        ranks: Ranks = ALONE,
    ) -> None:
        if sampler.eta <= 0:
            raise HeroError(
                f"update 'ddpo' needs noise in the sampler: sampler.eta is {sampler.eta}, "
                "set it above 0 or use --update forward"
            )
        self.settings, self.sampler, self.model, self.ranks = settings, sampler, model, ranks
        self.minibatch, self.steps_per_image = settings.microbatch, settings.steps_per_image
        self.window = settings.window
        self.optimizer = Optimizer(model.lora_parameters(), settings, ranks)

    def signal(self, experience: Experience) -> str:
        """Empty, or why this round teaches nothing."""
        if experience.rewards_B is None:
            return "no picture was ever good, so there is nothing to compare with"
        known = experience.rewards_B[~experience.rewards_B.isnan()]
        if len(known) == 0:
            return "no picture has a reward"
        if float(known.max() - known.min()) < EQUAL_REWARDS:
            return "all pictures have the same reward"
        return ""

    def step(
        self, experience: Experience, on_progress: OnProgress | None = None
    ) -> dict[str, float]:
        """Learn from one round: see `Update.step`. ValueError without rewards or kept steps."""
        trajectory, rewards = experience.batch.trajectory, experience.rewards_B
        if trajectory is None or rewards is None:
            raise ValueError("ddpo needs the round's kept denoising steps and its rewards")
        clip = self.settings.advantage_clip
        advantages_B = advantages(rewards).clamp(-clip, clip)
        groups = list(self._groups(rewards, experience))
        probe, log = Probe(self.model, experience), _Log(self.settings.clip_range, self.ranks)
        policy = Policy(self.model, self.sampler, experience.prompt)
        if self.model.dtype in (torch.bfloat16, torch.float16):
            with self.model.with_lora(experience.drawn_with):
                measured_B_S = policy.all_log_probs(trajectory, self.minibatch, self.ranks)
            trajectory = replace(trajectory, log_probs_B_S=measured_B_S)
        self.optimizer.clear()
        for done, group in enumerate(groups, start=1):
            for images in self.ranks.pieces(group, self.minibatch):
                ratio, loss = self._loss(policy, trajectory.rows(images), advantages_B[images])
                (loss * len(images) / len(group)).backward()  # type: ignore[no-untyped-call]
                log.add(ratio.detach(), loss.item(), first=done == 1)
            log.grad_norms.append(self.optimizer.step())
            if on_progress is not None:
                on_progress(done, len(groups))
        return log.metrics() | {"prediction_change": probe.change()}

    def rehearsal(self, experience: Experience, pictures: int) -> Callable[[], None]:
        """A pass of `step` forth and back on so many pictures, from which nothing is learned."""
        assert experience.batch.trajectory is not None
        policy = Policy(self.model, self.sampler, experience.prompt)
        rows = experience.batch.trajectory.rows(torch.arange(pictures))

        def go() -> None:
            try:
                self._loss(policy, rows, torch.ones(pictures))[1].backward()  # type: ignore[no-untyped-call]
            finally:
                self.optimizer.clear()

        return go

    def state_dict(self) -> dict[str, Tensor]:
        """The optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        self.optimizer.load_state_dict(state)

    def _groups(self, rewards_B: Tensor, experience: Experience) -> Iterator[Tensor]:
        """The pictures of each optimizer step: every inner epoch is a new shuffle of all."""
        known = (~rewards_B.isnan()).nonzero().flatten()
        for epoch in range(self.settings.inner_epochs):
            number = experience.turn * self.settings.inner_epochs + epoch
            random = generator(experience.seed, "update", experience.round, number)
            order = known[torch.randperm(len(known), generator=random)]
            yield from torch.split(order, self.settings.images_per_update)

    def _loss(
        self, policy: "Policy", rows: Trajectory, advantages_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Ratios (B, S) and the clipped loss, a mean over pictures and steps."""
        ratio = (policy.log_probs(rows) - rows.log_probs_B_S.to(self.model.device)).exp()
        weight = -advantages_B.to(ratio)[:, None]
        clip = self.settings.clip_range
        return ratio, torch.maximum(weight * ratio, weight * ratio.clamp(1 - clip, 1 + clip)).mean()


class Policy:
    """The sampler as a policy: how likely kept steps are under the present weights."""

    def __init__(self, model: "Model", sampler: SamplerSettings, prompt: str) -> None:
        self.model, self.sampler = model, sampler
        self.conditioning = Conditioning.of_sampler(prompt, sampler)

    def log_probs(self, rows: Trajectory) -> Tensor:
        """(B, S), differentiable; guidance as in sampling. All B x S rows are one batch."""
        timesteps = rows.timesteps_B_S.flatten()
        x_t = rows.latents_B_S_C_H_W.flatten(0, 1).to(self.model.device)
        x_next = rows.next_latents_B_S_C_H_W.flatten(0, 1).to(self.model.device)
        output = self.model.predict(x_t, timesteps, self.conditioning)
        mean, std = self.model.process.step(
            output, timesteps, rows.prev_timesteps_B_S.flatten(), x_t, self.sampler.eta
        )
        return log_prob(x_next, mean, std).view_as(rows.timesteps_B_S)

    @torch.no_grad()
    def all_log_probs(self, trajectory: Trajectory, minibatch: int, ranks: Ranks) -> Tensor:
        """Of every picture, (B, S) on the CPU, a minibatch at a time on each process."""
        images, none = torch.arange(len(trajectory.timesteps_B_S)), trajectory.log_probs_B_S[:0]
        parts = [
            self.log_probs(trajectory.rows(some)).cpu() for some in ranks.pieces(images, minibatch)
        ]
        return ranks.joined(torch.cat([none, *parts]))


class _Log:
    """Gathers an update's figures; each is a mean over all pictures and steps it trained on."""

    def __init__(self, clip_range: float, ranks: Ranks) -> None:
        self.clip_range, self.ranks = clip_range, ranks
        self.ratios: list[Tensor] = []
        self.grad_norms: list[float] = []
        self.loss, self.images, self.first_ratio_error = 0.0, 0, 0.0

    def add(self, ratio_B_S: Tensor, loss: float, *, first: bool) -> None:
        self.ratios.append(ratio_B_S.flatten())
        self.loss, self.images = self.loss + loss * len(ratio_B_S), self.images + len(ratio_B_S)
        if first:
            error = float((ratio_B_S - 1).abs().max())
            self.first_ratio_error = max(self.first_ratio_error, error)

    def metrics(self) -> dict[str, float]:
        own_ratios = [torch.zeros(0), *(each.cpu() for each in self.ratios)]
        ratio = self.ranks.joined(torch.cat(own_ratios))
        own = torch.tensor([[self.loss, self.images, self.first_ratio_error]], dtype=torch.float64)
        loss, images, first_ratio_error = self.ranks.joined(own).T
        return {
            "loss": float(loss.sum() / images.sum()),
            "grad_norm": sum(self.grad_norms) / len(self.grad_norms),
            "clip_fraction": float(((ratio - 1).abs() > self.clip_range).float().mean()),
            "ratio_mean": float(ratio.mean()),
            "approx_kl": float((ratio.log() ** 2).mean() / 2),
            "first_ratio_error": float(first_ratio_error.max()),
            "optimizer_steps": float(len(self.grad_norms)),
        }
