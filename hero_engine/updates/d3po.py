"""D3PO: direct preference optimisation on pairs of denoising steps (Yang et al. 2024).

Of two pictures of one prompt a person prefers w to l. With p the policy's likelihood of a kept step
x_t -> x_{t-1}, q the frozen base's, and clip(r) = min(max(r, 1 - c), 1 + c), each pair of steps has
    loss = -log sigmoid(b log clip(p_w / q_w) - b log clip(p_l / q_l)).

What differs from yk7333/d3po (config/base.py, scripts/train.py and train_with_rm.py):
- there a person's choices among groups of 7 pictures are gathered first and trained on for many
  epochs; here every round's labels make pairs, and the next round samples from what was learned;
- there all pairs of a group are used that are not equally good; here `pairs` pairs of the round's
  good and bad pictures, drawn evenly and with repeats;
- there a pair compares its two pictures at the same timestep; here their kept steps are compared in
  order, which is the same where all steps with noise are kept, as the default means them to be;
- ratios are clipped to 1 plus or minus `clip_range`, 0.1 as in the configuration; the first script
  for human feedback has 0.8 to 1.2;
- log-probabilities are means over latent elements, as there, but in float32, not float16; those of
  the base are worked out once a round, not once a pair;
- steps without noise (the last one of some schedules) are not trained, where they clamp sigma.

With the paper's beta and clip_range of 0.1 the loss stays within 0.683 and 0.703 and its slope
about a hundredth around beta / 2, whatever was learned, with none beyond the limits. So it does not
draw the model back to the base as DPO's loss does: how far the model goes is a matter of AdamW's
learning rate and of the number of steps (docs/results.md).

An optimizer step is the mean over `pairs_per_update` pairs and all their steps: 1 pair, as there.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from hero_engine.config.settings import D3poSettings, SamplerSettings
from hero_engine.core.batch import Trajectory
from hero_engine.core.errors import HeroError
from hero_engine.core.rng import generator
from hero_engine.distributed.collectives import ALONE, Ranks
from hero_engine.updates.base import WHOLE, Experience, OnProgress, Optimizer, Probe
from hero_engine.updates.ddpo import Policy

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model


class D3poUpdate:
    """Preferences instead of rewards. Needs kept steps, eta > 0, and both kinds of label."""

    name = "d3po"
    window = WHOLE

    def __init__(
        self,
        settings: D3poSettings,
        sampler: SamplerSettings,
        model: "Model",
        ranks: Ranks = ALONE,
    ) -> None:
        if sampler.eta <= 0:
            raise HeroError(
                f"update 'd3po' needs noise in the sampler: sampler.eta is {sampler.eta}, "
                "set it above 0"
            )
        self.settings, self.sampler, self.model, self.ranks = settings, sampler, model, ranks
        self.minibatch, self.steps_per_image = settings.microbatch, settings.steps_per_image
        self.optimizer = Optimizer(model.lora_parameters(), settings, ranks)

    def signal(self, experience: Experience) -> str:
        """Empty, or why this round teaches nothing."""
        labels = experience.labels
        if labels.goods and labels.bads:
            return ""
        return f"no picture is {'bad' if labels.goods else 'good'}, so there are no pairs"

    def step(
        self, experience: Experience, on_progress: OnProgress | None = None
    ) -> dict[str, float]:
        """Learn from one round: see `Update.step`. ValueError without pairs or kept steps."""
        trajectory = experience.batch.trajectory
        if trajectory is None or self.signal(experience):
            raise ValueError("d3po needs the round's kept denoising steps, goods and bads")
        probe = Probe(self.model, experience)
        policy = Policy(self.model, self.sampler, experience.prompt)
        reference_B_S = self._reference(policy, trajectory)
        groups = torch.split(self._pairs(experience), self.settings.pairs_per_update)
        self.optimizer.clear()
        losses, norms, margins = [0.0], [], [torch.zeros(0)]
        for done, group in enumerate(groups, start=1):
            for pairs in self.ranks.pieces(group, self.minibatch):
                loss, margin_P_S = self._loss(policy, trajectory, reference_B_S, pairs)
                (loss * len(pairs) / len(group)).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.item() * len(pairs))
                margins.append(margin_P_S.detach().flatten().cpu())
            norms.append(self.optimizer.step())
            if on_progress is not None:
                on_progress(done, len(groups))
        loss = self.ranks.joined(torch.tensor([sum(losses)], dtype=torch.float64)).sum()
        margin = self.ranks.joined(torch.cat(margins))
        return {
            "loss": float(loss) / self.settings.pairs,
            "preferred": float((margin > 0).float().mean()),
            "grad_norm": sum(norms) / len(norms),
            "optimizer_steps": float(len(groups)),
            "prediction_change": probe.change(),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """The optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        self.optimizer.load_state_dict(state)

    def _pairs(self, experience: Experience) -> Tensor:
        """(P, 2) indices: a good picture, then a bad one."""
        random = generator(experience.seed, "update", experience.round, 0)
        count, labels = (self.settings.pairs,), experience.labels
        goods, bads = (
            torch.tensor(side)[torch.randint(len(side), count, generator=random)]
            for side in (labels.goods, labels.bads)
        )
        return torch.stack([goods, bads], dim=1)

    def _reference(self, policy: Policy, trajectory: Trajectory) -> Tensor:
        """The base's log-probabilities of all kept steps, (B, S)."""
        with self.model.base():
            return policy.all_log_probs(trajectory, 2 * self.minibatch, self.ranks)

    def _loss(
        self, policy: Policy, trajectory: Trajectory, reference_B_S: Tensor, pairs_P_2: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean loss of these pairs' steps, and log ratios' differences (P, S), unclipped."""
        images = pairs_P_2.T.flatten()
        log_probs = policy.log_probs(trajectory.rows(images))
        better, worse = (log_probs - reference_B_S[images].to(log_probs.device)).chunk(2)
        return preference_loss(better, worse, self.settings).mean(), better - worse


def preference_loss(better: Tensor, worse: Tensor, settings: D3poSettings) -> Tensor:
    """The loss of each pair of steps, from log(p / q) of the better picture's and the worse's.

    log clip(exp x) is x between log(1 - c) and log(1 + c), and has no gradient beyond.
    """
    low, high = math.log(1 - settings.clip_range), math.log(1 + settings.clip_range)
    gap = better.clamp(low, high) - worse.clamp(low, high)
    return -functional.logsigmoid(settings.beta * gap)
