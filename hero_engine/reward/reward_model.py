"""The reward model of a run: fitted to labels, it gives every image a reward.

It has two settings: the representation (`embedding.kind`: the triplet embedding, trained each
round, or the frozen network's activations) and the reward computed from it (`reward.kind`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import Best, LabelledLatents, LabelledRound
from hero_engine.core.rng import generator
from hero_engine.models.grouped_conditioning import GroupedConditioning
from hero_engine.models.pipeline import Model
from hero_engine.reward.backbone_features import BackboneFeatures
from hero_engine.reward.embedding import Embedding, OnEpoch, Triplets, train_embedding
from hero_engine.reward.logistic_head import BayesianLogisticHead
from hero_engine.reward.rewards import label_reward, positives_reward

Weights = Mapping[str, Tensor]
"""Weights of the embedding, by name, on the CPU."""

PredictProbability = Callable[[Batch], Tensor]
"""Images to the probability of each being good, (B,) float32."""


@dataclass(frozen=True)
class Evidence:
    """What rewards are based on: labelled images, and each group's best image so far."""

    known: LabelledLatents
    bests: Mapping[int, Best]


class RewardModel:
    """Fits the representation and predicts rewards. All it learns is in the weights it returns."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.settings, self.device = settings, model.device
        shape = GroupedConditioning.plain(settings.plan.kinds).latent_shape(model)
        self.embedding = Embedding(shape, settings.embedding, seed=settings.seed)
        self.embedding.to(model.device)
        self.backbone = (
            BackboneFeatures(model, settings.plan.kinds, settings.microbatch, settings.seed)
            if settings.embedding.kind == "backbone"
            else None
        )

    @property
    def is_trained(self) -> bool:
        """Whether the representation learns from labels; the network's activations do not."""
        return self.backbone is None

    def weights(self) -> dict[str, Tensor]:
        """A copy of the embedding's weights on the CPU."""
        return {name: each.cpu().clone() for name, each in self.embedding.state_dict().items()}

    def load(self, weights: Weights) -> None:
        """Use these weights. RuntimeError if they do not fit."""
        self.embedding.load_state_dict(weights)

    def evidence(
        self, round: LabelledRound, memory: LabelledLatents, bests: Mapping[int, Best]
    ) -> Evidence:
        """This round's labels, or those of all rounds, as `embedding.history` says."""
        this_round = self.settings.embedding.history == "round"
        return Evidence(round.known if this_round else memory, bests)

    def triplets(self, evidence: Evidence) -> tuple[Triplets, ...]:
        """Of each group; none where it has nothing to learn: no best, no positive, no negative."""
        if self.backbone is not None:
            return ()
        groups = (
            triplets_of(evidence.known.of_group(group), best)
            for group, best in sorted(evidence.bests.items())
        )
        return tuple(each for each in groups if each is not None)

    def fit(
        self, weights: Weights, triplets: Sequence[Triplets], round: int, on_epoch: OnEpoch
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Train the embedding; returns its new weights and its losses."""
        self.load(weights)
        settings = self.settings
        random = generator(settings.seed, "embed", round, 0)
        losses = train_embedding(self.embedding, triplets, settings.embedding, random, on_epoch)
        return self.weights(), losses

    def predicted_rewards(
        self, weights: Weights, evidence: Evidence, batch: Batch
    ) -> Tensor | None:
        """Rewards of images whose labels are not known: (B,) on the CPU.

        None if nothing was learned yet, and where the label itself is the reward. NaN for an
        image of a prompt of which nothing was learned.
        """
        match self.settings.reward.kind:
            case "labels":
                return None
            case "probability":
                return self._probabilities(weights, evidence, batch)
            case "best" | "positives":
                best = {group: each.latent_C_H_W[None] for group, each in evidence.bests.items()}
                return self._similarities(weights, best, batch)
        assert_never(self.settings.reward.kind)

    def rewards(self, weights: Weights, evidence: Evidence, round: LabelledRound) -> Tensor | None:
        """The reward of every image, (B,) on the CPU; None if nothing is known to compare."""
        kind, known = self.settings.reward.kind, round.known
        if kind == "labels":
            return label_reward(round.labels)
        if kind == "positives":
            like = {group: each.latent_C_H_W[None] for group, each in evidence.bests.items()}
            goods = {int(group) for group in known.group_ids[known.good_N]}
            for group in goods & like.keys():
                own = known.of_group(group)
                like[group] = own.latents_N_C_H_W[own.good_N]
            return self._similarities(weights, like, round.batch)
        return self.predicted_rewards(weights, evidence, round.batch)

    def probability(self, weights: Weights, evidence: Evidence) -> PredictProbability | None:
        """A predictor of the probability of good, fitted to the labels; None without any."""
        head = self._head(weights, evidence)
        if head is None:
            return None
        return lambda batch: head(self.features(batch.latents_B_C_H_W, batch.group_ids)).float()

    def features(
        self, latents_B_C_H_W: Tensor, group_B: Tensor | None = None, *, cached: bool = False
    ) -> Tensor:
        """The representation of final latents: (B, F) on the CPU.

        group_B: the number of each image's prompt; None: all are of the first.
        The network's activations, or the embedding's features, normalised. The embedding was
        trained on the labels that the head is fitted to, so its probabilities are too certain.
        cached: the same images will be asked for again.
        """
        if self.backbone is None:
            return self._embedded(latents_B_C_H_W)
        compute = self.backbone.cached if cached else self.backbone
        return compute(latents_B_C_H_W, group_B)

    def _similarities(
        self, weights: Weights, positives: Mapping[int, Tensor], batch: Batch
    ) -> Tensor | None:
        """Similarity of each image to the positives of its group, (N, C, H, W)."""
        groups = {*batch.group_ids.tolist()} & positives.keys()
        if not groups:
            return None
        self.load(weights)
        rewards_B = torch.full((len(batch),), float("nan"))
        for group in groups:
            own = batch.group_ids == group
            latents = batch.latents_B_C_H_W[own].to(self.device)
            like = positives[group].to(self.device)
            rewards_B[own] = positives_reward(self.embedding, latents, like).cpu()
        return rewards_B

    def _probabilities(self, weights: Weights, evidence: Evidence, batch: Batch) -> Tensor | None:
        head = self._head(weights, evidence)
        if head is None:
            return None
        return head(self.features(batch.latents_B_C_H_W, batch.group_ids, cached=True)).float()

    def _head(self, weights: Weights, evidence: Evidence) -> BayesianLogisticHead | None:
        if len(evidence.known) == 0:
            return None
        self.load(weights)
        known = evidence.known
        features = self.features(known.latents_N_C_H_W, known.group_ids, cached=True)
        standardise = self.backbone is not None
        return BayesianLogisticHead.fit(features, evidence.known.good_N, standardise=standardise)

    @torch.no_grad()
    def _embedded(self, latents_B_C_H_W: Tensor) -> Tensor:
        features = self.embedding(latents_B_C_H_W.to(self.device))
        return torch.nn.functional.normalize(features).cpu()


def triplets_of(known: LabelledLatents, best: Best) -> Triplets | None:
    """The triplets of one prompt's labelled images; None without a positive or a negative."""
    latents, good_N = known.latents_N_C_H_W, known.good_N
    is_best = (latents == best.latent_C_H_W).flatten(1).all(1)
    positives, negatives = latents[good_N & ~is_best], latents[~good_N]
    if not len(positives) or not len(negatives):
        return None
    return Triplets(best.latent_C_H_W, positives, negatives)
