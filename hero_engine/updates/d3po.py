"""D3PO: direct preference optimisation on pairs of denoising steps (Yang et al. 2024).

A person prefers image w to image l. With p the policy's likelihood of a kept step x_t -> x_{t-1}, q
the frozen base's, and clip(r) = min(max(r, 1 - c), 1 + c), each pair of steps has
    loss = -log sigmoid(b log clip(p_w / q_w) - b log clip(p_l / q_l)).

What differs from yk7333/d3po (config/base.py, scripts/train.py, scripts/rm/train_d3po.py):
- they gather a person's choices among groups of 7 images first and train on them for many epochs;
  here every round's labels make pairs, and the next round samples from the updated policy;
- they use all pairs of a group that are not equally good; here `pairs` of them are drawn uniformly,
  with repeats. The images of a group share their initial noise, as theirs: `images_per_noise`;
- they compare the images of a pair at the same timestep; here the kept steps are compared in order,
  which is the same where all steps with noise are kept, as by default;
- ratios are clipped to 1 plus or minus `clip_range`, 0.1 as in their configuration; their first
  script for human feedback has 0.8 to 1.2;
- log-probabilities are means over latent elements, as theirs, but from float32 latents and outputs;
  the base's are computed once a round, not once a pair;
- a step without noise (the last one of schedules that end at alpha = 1) is not trained; theirs has
  noise, since they clamp the timestep it leads to at 0.

With the paper's beta and clip_range of 0.1 the loss stays within 0.683 and 0.703 and its slope
within a hundredth of beta / 2 at any weights; beyond the clip there is none. So the loss
does not hold the model near the base as DPO's does: how far the model goes depends on the learning
rate and the number of steps (docs/results.md).

An optimizer step is the mean over `pairs_per_update` pairs and all their steps: 1 pair, as theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from hero_engine.config.settings import Settings
from hero_engine.config.update_settings import D3poSettings
from hero_engine.core.batch import Trajectory, distinct
from hero_engine.core.collective import Collective, Microbatches
from hero_engine.core.labels import Labels
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps
from hero_engine.updates.denoising_policy import DenoisingPolicy
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId
from hero_engine.updates.network_calls import Call, RoundSize, parts


@dataclass(frozen=True)
class PreferenceData:
    """The kept steps of images, and all pairs (N, 2) of a good image and a bad one to compare.

    group_B: the number of each image's prompt; the images of a pair have the same.
    """

    trajectory: Trajectory
    group_B: Tensor
    candidates: Tensor


class D3poUpdate:
    """Preferences instead of rewards. Needs kept steps, eta > 0, and both kinds of label."""

    name = "d3po"

    def __init__(self, settings: D3poSettings, policy: DenoisingPolicy) -> None:
        policy.check_noise(self.name)
        self.settings, self.policy, self.model = settings, policy, policy.model
        self.kept_steps = KeptSteps(settings.steps_per_image)
        self.images_per_noise = settings.images_per_noise
        self.microbatch = settings.microbatch * policy.rows_of_image(self.kept_steps)

    @classmethod
    def of_run(cls, settings: Settings, model: Model) -> Self:
        """The update of a run. HeroError, exit code 2, if no denoising step has noise."""
        return cls(settings.d3po, DenoisingPolicy.of_run(settings, model))

    @classmethod
    def network_calls(cls, settings: Settings, size: RoundSize) -> Iterator[Call]:
        """The base's for all kept steps, then one for every microbatch of pairs."""
        own = settings.d3po
        kept = min(own.steps_per_image, size.steps)
        for rows in parts(size.images * kept, 2 * own.microbatch * kept):
            yield Call(rows * size.rows, trained=False)
        for pairs in parts(own.pairs, own.pairs_per_update):
            for rows in parts(pairs * kept, own.microbatch * kept):
                yield Call(2 * rows * size.rows, trained=True)

    def lesson(self, feedback: Feedback) -> PreferenceData | NoSignal:
        """The round's kept steps and labels. ValueError if no step was kept."""
        labels, batch = feedback.round.labels, feedback.round.batch
        if batch.trajectory is None:
            raise ValueError("d3po needs the kept denoising steps of the images")
        if not labels.goods or not labels.bads:
            missing = "bad" if labels.goods else "good"
            return NoSignal(f"no picture is {missing}, so there are no pairs")
        candidates = self._candidates(labels, batch.group_ids.tolist())
        if not len(candidates):
            return NoSignal(
                "no noise has both a good and a bad picture, so there are no pairs: lower "
                "d3po.images_per_noise to 1 to compare all"
            )
        return PreferenceData(batch.trajectory, batch.group_ids, candidates)

    def _candidates(self, labels: Labels, groups: Sequence[int]) -> Tensor:
        """All pairs of a prompt's images from the same noise; of all its images where none share.

        groups: the numbers of the images' prompts.
        """
        size = self.settings.images_per_noise
        pairs = [
            (good, bad)
            for good in labels.goods
            for bad in labels.bads
            if groups[good] == groups[bad] and (size == 1 or good // size == bad // size)
        ]
        return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)

    def pseudo_lesson(self, images: PseudoLabelled) -> NoSignal:
        """Nothing: this baseline trusts labels alone."""
        return NoSignal("d3po does not learn from pseudo-labels")

    def objective(
        self, lesson: PreferenceData, update_id: UpdateId, microbatches: Microbatches
    ) -> PreferenceObjective:
        """The preferences of random pairs, against the base."""
        twice = replace(microbatches, size=2 * microbatches.size)
        with self.model.base():
            reference_B_S = self.policy.all_log_probs(lesson.trajectory, lesson.group_B, twice)
        return PreferenceObjective(self, lesson, reference_B_S, update_id)


class PreferenceObjective:
    """DPO's loss with clipped ratios. A step's rows are (good image, bad image, kept step).

    reference_B_S: the base's log-probabilities of all kept steps.
    """

    def __init__(
        self, update: D3poUpdate, data: PreferenceData, reference_B_S: Tensor, update_id: UpdateId
    ) -> None:
        self.settings, self.policy = update.settings, update.policy
        self.trajectory, self.reference_B_S = data.trajectory, reference_B_S
        self.group_B = data.group_B
        self.pairs = draw_pairs(data, self.settings.pairs, update_id)
        self._groups = torch.split(self.pairs, self.settings.pairs_per_update)
        self.steps = len(self._groups)
        self._margins = [torch.zeros(0)]

    def rows(self, step: int) -> Tensor:
        """The rows of an optimizer step, (R, 3): its pairs, each at all kept steps."""
        pairs, steps = self._groups[step], self.reference_B_S.shape[1]
        slots = torch.arange(steps).repeat(len(pairs))
        return torch.cat([pairs.repeat_interleave(steps, 0), slots[:, None]], 1)

    def loss(self, rows: Tensor) -> Tensor:
        """The mean loss of these rows."""
        both = torch.cat([rows[:, [0, 2]], rows[:, [1, 2]]])
        log_probs = self.policy.log_probs(self.trajectory.at(both), self.group_B[both[:, 0]])
        reference = self.reference_B_S[both[:, 0], both[:, 1], None].to(log_probs.device)
        better, worse = (log_probs - reference).chunk(2)
        self._margins.append((better - worse).detach().flatten().cpu())
        return preference_loss(better, worse, self.settings).mean()

    def metrics(self, collective: Collective) -> dict[str, float]:
        """The share of steps of which the policy prefers the good image's."""
        margins = collective.all_gather(torch.cat(self._margins))
        return {"preferred": float((margins > 0).float().mean())}


def draw_pairs(data: PreferenceData, count: int, update_id: UpdateId) -> Tensor:
    """(count, 2) indices of images: a good one, then a bad one of its prompt, with repeats.

    The prompts take turns.
    """
    random, pairs = update_id.generator("update", 0), torch.zeros(count, 2, dtype=torch.int64)
    groups = data.group_B[data.candidates[:, 0]]
    known = distinct(groups)
    for place, group in enumerate(known):
        own, rows = data.candidates[groups == group], torch.arange(count) % len(known) == place
        pairs[rows] = own[torch.randint(len(own), (int(rows.sum()),), generator=random)]
    return pairs


def preference_loss(better: Tensor, worse: Tensor, settings: D3poSettings) -> Tensor:
    """The loss of each pair of steps, from log(p / q) of the better image's and the worse's.

    log clip(exp x) is x between log(1 - c) and log(1 + c), and has no gradient beyond.
    """
    low, high = math.log(1 - settings.clip_range), math.log(1 + settings.clip_range)
    gap = better.clamp(low, high) - worse.clamp(low, high)
    return -functional.logsigmoid(settings.beta * gap)
