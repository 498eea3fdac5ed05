"""The reward model of a run: fitted to labels, it gives every image a reward.

It has two settings: the representation (`embedding.kind`: the triplet embedding, trained each
round, or the frozen network's activations) and the reward computed from it (`reward.kind`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.core.labelled_round import Best, LabelledLatents, LabelledRound
from hero_engine.core.rng import generator
from hero_engine.models.pipeline import Model
from hero_engine.reward.backbone_features import BackboneFeatures
from hero_engine.reward.embedding import Embedding, OnEpoch, Triplets, train_embedding
from hero_engine.reward.logistic_head import BayesianLogisticHead
from hero_engine.reward.rewards import label_reward, positives_reward, similarity_reward

Weights = Mapping[str, Tensor]
"""Weights of the embedding, by name, on the CPU."""

PredictProbability = Callable[[Tensor], Tensor]
"""Final latents (B, C, H, W) to the probability of each being good, (B,) float32."""


@dataclass(frozen=True)
class Evidence:
    """What rewards are based on: labelled images, and the best image so far."""

    known: LabelledLatents
    best: Best | None


class RewardModel:
    """Fits the representation and predicts rewards. All it learns is in the weights it returns."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.settings, self.device = settings, model.device
        self.embedding = Embedding(model.latent_shape, settings.embedding, seed=settings.seed)
        self.embedding.to(model.device)
        self.backbone = (
            BackboneFeatures(model, settings.prompt, settings.microbatch, settings.seed)
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
        """Use these weights. RuntimeError where they do not fit."""
        self.embedding.load_state_dict(weights)

    def evidence(
        self, round: LabelledRound, memory: LabelledLatents, best: Best | None
    ) -> Evidence:
        """This round's labels, or those of all rounds, as `embedding.history` says."""
        this_round = self.settings.embedding.history == "round"
        return Evidence(round.known if this_round else memory, best)

    def triplets(self, evidence: Evidence) -> Triplets | None:
        """None where the embedding has nothing to learn: no best, no positive or no negative."""
        if self.backbone is not None or evidence.best is None:
            return None
        latents, good_N = evidence.known.latents_N_C_H_W, evidence.known.good_N
        best = evidence.best.latent_C_H_W
        is_best = (latents == best).flatten(1).all(1)
        positives, negatives = latents[good_N & ~is_best], latents[~good_N]
        if not len(positives) or not len(negatives):
            return None
        return Triplets(best, positives, negatives)

    def fit(
        self, weights: Weights, triplets: Triplets, round: int, on_epoch: OnEpoch
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Train the embedding; returns its new weights and its losses."""
        self.load(weights)
        settings = self.settings
        random = generator(settings.seed, "embed", round, 0)
        losses = train_embedding(self.embedding, triplets, settings.embedding, random, on_epoch)
        return self.weights(), losses

    def predicted_rewards(
        self, weights: Weights, evidence: Evidence, latents_B_C_H_W: Tensor
    ) -> Tensor | None:
        """Rewards of images whose labels are not known: (B,) on the CPU.

        None where nothing was learned yet, and where the label itself is the reward.
        """
        match self.settings.reward.kind:
            case "labels":
                return None
            case "probability":
                return self._probabilities(weights, evidence, latents_B_C_H_W)
            case "best" | "positives":
                return self._similarities(weights, evidence, latents_B_C_H_W)
        assert_never(self.settings.reward.kind)

    def rewards(self, weights: Weights, evidence: Evidence, round: LabelledRound) -> Tensor | None:
        """The reward of every image, (B,) on the CPU; None where nothing is known to compare."""
        kind, latents = self.settings.reward.kind, round.batch.latents_B_C_H_W
        if kind == "labels":
            return label_reward(round.labels)
        if kind == "positives" and round.labels.goods and evidence.best is not None:
            self.load(weights)
            latents = latents.to(self.device)
            goods = latents[list(round.labels.goods)]
            return positives_reward(self.embedding, latents, goods).cpu()
        return self.predicted_rewards(weights, evidence, latents)

    def probability(self, weights: Weights, evidence: Evidence) -> PredictProbability | None:
        """A predictor of the probability of good, fitted to the labels; None without any."""
        head = self._head(weights, evidence)
        if head is None:
            return None
        return lambda latents_B_C_H_W: head(self.features(latents_B_C_H_W)).float()

    def features(self, latents_B_C_H_W: Tensor, *, cached: bool = False) -> Tensor:
        """The representation of final latents: (B, F) on the CPU.

        The network's activations, or the embedding's features, normalised. The embedding was
        trained on the labels that the head is fitted to, so its probabilities are too certain.
        cached: the same images will be asked for again.
        """
        if self.backbone is None:
            return self._embedded(latents_B_C_H_W)
        return self.backbone.cached(latents_B_C_H_W) if cached else self.backbone(latents_B_C_H_W)

    def _similarities(
        self, weights: Weights, evidence: Evidence, latents_B_C_H_W: Tensor
    ) -> Tensor | None:
        if evidence.best is None:
            return None
        self.load(weights)
        best = evidence.best.latent_C_H_W.to(self.device)
        return similarity_reward(self.embedding, latents_B_C_H_W.to(self.device), best).cpu()

    def _probabilities(
        self, weights: Weights, evidence: Evidence, latents_B_C_H_W: Tensor
    ) -> Tensor | None:
        head = self._head(weights, evidence)
        return None if head is None else head(self.features(latents_B_C_H_W, cached=True)).float()

    def _head(self, weights: Weights, evidence: Evidence) -> BayesianLogisticHead | None:
        if len(evidence.known) == 0:
            return None
        self.load(weights)
        features = self.features(evidence.known.latents_N_C_H_W, cached=True)
        standardise = self.backbone is not None
        return BayesianLogisticHead.fit(features, evidence.known.good_N, standardise=standardise)

    @torch.no_grad()
    def _embedded(self, latents_B_C_H_W: Tensor) -> Tensor:
        features = self.embedding(latents_B_C_H_W.to(self.device))
        return torch.nn.functional.normalize(features).cpu()
