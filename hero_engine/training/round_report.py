"""A round's figures, and notes about what was unusual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.core.batch import distinct
from hero_engine.core.events import RoundFinished
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.reward.embedding import ranking_auc
from hero_engine.training.state import State
from hero_engine.updates import NoSignal

Metrics = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """A round that was learned from.

    state: what was learned; `State.next_round` still adds the round's good noises to the prior.
    rewards_B: None if there was nothing to compare with. observed: metrics of the images and
    rewards. fitted, updated: metrics of fitting the reward model and of updating the weights, or
    why that was not done.
    """

    state: State
    round: LabelledRound
    rewards_B: Tensor | None
    observed: Metrics
    fitted: Metrics | NoSignal
    updated: Metrics | NoSignal

    @property
    def metrics(self) -> Metrics:
        """All metrics of the round."""
        results = (self.observed, self.fitted, self.updated)
        given = [each for each in results if not isinstance(each, NoSignal)]
        return {name: value for metrics in given for name, value in metrics.items()}

    def report(self, seconds: Mapping[str, float], plan: PromptPlan = ONE_PROMPT) -> RoundFinished:
        """The event that reports the round. seconds: of each step. plan: the run's prompts."""
        labels, mean, std = self.round.labels, None, None
        if self.rewards_B is not None and len(known := self.rewards_B[~self.rewards_B.isnan()]):
            mean, std = float(known.mean()), float(known.std(correction=0))
        return RoundFinished(
            round=self.round.number,
            labels=labels.labelled,
            good=len(labels.goods),
            unlabelled=len(labels.unlabelled),
            labels_total=self.state.labels_used,
            reward_mean=mean,
            reward_std=std,
            updated=not isinstance(self.updated, NoSignal),
            note="; ".join(self._notes()),
            seconds={step: round(each, 3) for step, each in seconds.items()},
            metrics=self.metrics,
            prompts=tuple(self._by_prompt(plan)) if len(plan) > 1 else (),
        )

    def _by_prompt(self, plan: PromptPlan) -> Iterator[dict[str, Any]]:
        known = self.round.own
        for group in distinct(self.round.batch.group_ids):
            own, images = known.of_group(group), self.round.batch.group_ids == group
            yield {
                "group": group,
                "prompt": plan.names[group],
                "labels": len(own),
                "good": int(own.good_N.sum()),
                "reward_mean": self._mean_reward(images),
                **diversity_metric(self.round.batch.latents_B_C_H_W[images]),
            }

    def _mean_reward(self, images_B: Tensor) -> float | None:
        """The mean of the known rewards of some images."""
        if self.rewards_B is None:
            return None
        own = self.rewards_B[images_B]
        known = own[~own.isnan()]
        return float(known.mean()) if len(known) else None

    def _notes(self) -> Iterator[str]:
        labels, assumed = self.round.labels, int(self.metrics.get("assumed_negatives", 0))
        if self.round.imported is not None:
            yield f"{len(self.round.imported)} imported pictures were learned from too"
        if labels.best_assumed:
            yield "no best was named: the first good picture counts as the best"
        if skipped := len(labels.unlabelled) - assumed:
            yield f"{skipped} unlabelled pictures were skipped"
        if labels.labelled and not labels.goods:
            yield "no good picture" + ("; the best one so far stays" if self.state.bests else "")
        if assumed:
            yield f"no picture was labelled bad: {assumed} unlabelled ones count as bad"
        elif labels.goods and bool(self.state.memory.good_N.all()):
            yield "no bad picture yet to contrast the good ones with"
        if labels.goods and isinstance(self.fitted, NoSignal):
            yield f"the embedding was not trained: {self.fitted.reason}"
        if isinstance(self.updated, NoSignal):
            yield f"no update: {self.updated.reason}"


def auc_of_labelled(rewards_B: Tensor, round: LabelledRound) -> float | None:
    """How well rewards rank a round's labelled images: the share of (good, bad) pairs in order.

    The images of a pair are of one prompt. Ties count half. None if there is no pair.
    """
    labels = round.labels
    known = [index for index, good in enumerate(labels.good) if good is not None]
    goods = torch.tensor([bool(labels.good[index]) for index in known], dtype=torch.bool)
    return ranking_auc(rewards_B[known], goods, round.batch.group_ids[known])


def agreement_metric(name: str, rewards_B: Tensor | None, round: LabelledRound) -> dict[str, float]:
    """`auc_of_labelled` under that name; empty if there is nothing to rank."""
    auc = None if rewards_B is None else auc_of_labelled(rewards_B, round)
    return {} if auc is None else {name: auc}


def diversity_metric(latents_B_C_H_W: Tensor) -> dict[str, float]:
    """Spread of images: the root mean square difference of an element of their final latents,
    averaged over all pairs. Empty for a single image. Padding, which is 0 in all, does not count.
    """
    if len(latents_B_C_H_W) < 2:
        return {}
    flat = latents_B_C_H_W.flatten(1).double()
    elements = int(flat.any(0).sum()) or 1
    return {"diversity": float(torch.pdist(flat).mean()) / elements**0.5}
