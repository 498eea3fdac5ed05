"""What a run has learned: the model's LoRA, the embedding, the noise prior, the best, the memory.

Everything here can be saved as flat tensors and put back, bit for bit; ``loop.py`` says in which
order it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hero_engine.config import Settings
from hero_engine.labels import Labels
from hero_engine.noise import FRESH, NoisePrior
from hero_engine.records import Batch
from hero_engine.representation import Embedding, ranking_auc, train_embedding
from hero_engine.reward import label_reward, positives_reward, similarity_reward
from hero_engine.updates import Experience, Memory, make_update

if TYPE_CHECKING:
    from hero_engine.pipeline import Model

OnProgress = Callable[[int, int], None]
Parts = dict[str, dict[str, Tensor]]


class Learner:
    """The learning state between rounds.

    best_C_H_W: final latent of the best picture so far; None before there is one.
    memory: every labelled final latent so far.
    """

    def __init__(self, settings: Settings, model: Model) -> None:
        self.settings, self.model = settings, model
        self.embedding = Embedding(model.latent_shape, settings.embedding, seed=settings.seed)
        self.update = make_update(settings, model)
        self.prior: NoisePrior = FRESH
        self.best_C_H_W: Tensor | None = None
        self.memory = Memory(torch.zeros(0, *model.latent_shape), torch.zeros(0, dtype=torch.bool))

    @property
    def rewards_are_labels(self) -> bool:
        """Whether the reward is the label itself, so that no embedding is needed."""
        return self.settings.reward.kind == "labels" or self.update.learns_from == "labels"

    def remember(self, batch: Batch, labels: Labels) -> None:
        """Take in a round's labels; best carries over where the round names none."""
        self.memory = self.memory.plus(Memory.of_round(batch, labels))
        if labels.best is not None:
            self.best_C_H_W = batch.latents_B_C_H_W[labels.best].clone()

    def represent(
        self, batch: Batch, labels: Labels, round: int, on_progress: OnProgress
    ) -> dict[str, float]:
        """Train the embedding (section 4.2) where there is something to contrast.

        Returns its losses and ``auc_before``: how well it ranked this round's goods over its bads
        before it was fitted to them.
        """
        if self.rewards_are_labels or self.best_C_H_W is None:
            return {}
        metrics = self._auc("auc_before", batch, labels)
        positives, negatives = self._contrast(batch, labels)
        if len(positives) and len(negatives):
            metrics |= train_embedding(
                self.embedding,
                self.best_C_H_W,
                positives,
                negatives,
                self.settings.embedding,
                self.settings.seed,
                round,
                on_progress,
            )
        return metrics | self._auc("auc", batch, labels)

    def rewards(self, batch: Batch, labels: Labels) -> Tensor | None:
        """(B,) rewards (section 4.2); None while nothing was ever good."""
        if self.rewards_are_labels:
            return label_reward(labels) if labels.labelled else None
        if self.best_C_H_W is None:
            return None
        latents = batch.latents_B_C_H_W
        if self.settings.reward.kind == "positives" and labels.goods:
            return positives_reward(self.embedding, latents, latents[list(labels.goods)])
        return similarity_reward(self.embedding, latents, self.best_C_H_W)

    def experience(
        self, batch: Batch, labels: Labels, rewards_B: Tensor | None, round: int
    ) -> Experience:
        """What the update learns from."""
        settings = self.settings
        return Experience(
            batch, labels, rewards_B, settings.prompt, round, settings.seed, self.memory
        )

    def guide(self, batch: Batch, labels: Labels) -> None:
        """The next round's noises lie near those of the best and the other goods (section 4.3)."""
        self.prior = self.prior.updated(batch, labels)

    def parts(self) -> Parts:
        """Everything, as flat tensors by part."""
        best = {} if self.best_C_H_W is None else {"best_C_H_W": self.best_C_H_W}
        return {
            "lora": self.model.lora_state(),
            "optimizer": self.update.state_dict(),
            "embedding": {k: v.cpu() for k, v in self.embedding.state_dict().items()},
            "prior": self.prior.tensors(),
            "memory": {"latents": self.memory.latents_N_C_H_W, "good": self.memory.good_N, **best},
        }

    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Put back what ``parts`` gave."""
        self.model.load_lora_state(parts["lora"])
        self.update.load_state_dict(parts["optimizer"])
        self.embedding.load_state_dict(dict(parts["embedding"]))
        self.prior = NoisePrior.from_tensors(parts["prior"])
        self.memory = Memory(parts["memory"]["latents"], parts["memory"]["good"])
        self.best_C_H_W = parts["memory"].get("best_C_H_W")

    def _contrast(self, batch: Batch, labels: Labels) -> tuple[Tensor, Tensor]:
        """Positives without the best, and negatives, of this round or of all (the settings say)."""
        latents = batch.latents_B_C_H_W
        if self.settings.embedding.history == "round":
            return latents[list(labels.others)], latents[list(labels.bads)]
        known, good = self.memory.latents_N_C_H_W, self.memory.good_N
        is_best = (known == self.best_C_H_W).flatten(1).all(1)
        return known[good & ~is_best], known[~good]

    def _auc(self, name: str, batch: Batch, labels: Labels) -> dict[str, float]:
        """How the rewards rank this round's goods over its bads; empty where one kind is missing."""
        rewards = self.rewards(batch, labels)
        known = [index for index, good in enumerate(labels.good) if good is not None]
        if rewards is None or not known:
            return {}
        good = torch.tensor([bool(labels.good[index]) for index in known])
        auc = ranking_auc(rewards[known], good)
        return {} if auc is None else {name: auc}
