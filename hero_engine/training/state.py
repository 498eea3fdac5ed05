"""What a run learns, and learns with: everything that one round hands to the next.

`parts` and `restore` turn all of it into tensors for a checkpoint and back, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Self

import torch
from torch import Tensor

from hero_engine.config.settings import Settings, to_toml
from hero_engine.core.batch import Batch
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import round_name
from hero_engine.distributed.collectives import ALONE, Message, Ranks
from hero_engine.distributed.sharding import update_order
from hero_engine.models.pipeline import Model, model_for
from hero_engine.policy.noise_prior import FRESH, NoisePrior
from hero_engine.reward.backbone_features import NetworkFeatures
from hero_engine.reward.embedding import Embedding, ranking_auc, train_embedding
from hero_engine.reward.rewards import (
    ChanceOfGood,
    label_reward,
    positives_reward,
    similarity_reward,
)
from hero_engine.storage.run_folder import Parts
from hero_engine.updates import Experience, Memory, OnProgress, make_update

OnEpoch = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """What a round's pictures come from: LoRA weights, and the prior over their noises."""

    lora: Mapping[str, Tensor]
    prior: NoisePrior

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        lora = {f"lora.{name}": weight for name, weight in self.lora.items()}
        return lora | {f"prior.{name}": noise for name, noise in self.prior.tensors().items()}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> Self:
        """The source that `tensors` wrote."""
        lora, prior = (
            {name.removeprefix(part): each for name, each in flat.items() if name.startswith(part)}
            for part in ("lora.", "prior.")
        )
        return cls(lora, NoisePrior.from_tensors(prior))


class Learner:
    """The model with its LoRA and optimizer, the embedding, the noise prior, the best, the memory.

    best_C_H_W: the final latent of the best picture so far; None before the first good one.
    memory: every labelled picture so far. source: where the pictures of the round to learn from
    next come from, if that is not what was learned last; see `Run.draw_ahead`.
    ranks: the processes that sample and update with this one.
    """

    def __init__(self, settings: Settings, model: Model, ranks: Ranks = ALONE) -> None:
        self.settings, self.model, self.ranks = settings, model, ranks
        self.update = make_update(settings, model, ranks)
        self.embedding = Embedding(model.latent_shape, settings.embedding, seed=settings.seed)
        self.embedding.to(model.device)
        self.network_features = (
            NetworkFeatures(model, settings.prompt, settings.microbatch, settings.seed)
            if settings.embedding.kind == "backbone"
            else None
        )
        self.prior: NoisePrior = FRESH
        self.best_C_H_W: Tensor | None = None
        self.memory = Memory(torch.zeros(0, *model.latent_shape), torch.zeros(0, dtype=torch.bool))
        self.source: Source | None = None

    @classmethod
    def open(cls, settings: Settings, device: str = "auto", ranks: Ranks = ALONE) -> Self:
        """As a run begins. HeroError, exit code 3, where the model cannot be opened."""
        if not ranks.alone:
            ranks.order(Message({"settings": to_toml(settings)}))
        return cls(settings, model_for(settings, device), ranks)

    def begin_with(self, lora: Mapping[str, Tensor] | None) -> None:
        """Start from someone's LoRA, where there is one. HeroError, 4, where it does not fit."""
        if lora is None:
            return
        try:
            self.model.load_lora_state(lora)
        except ValueError as error:
            raise HeroError(f"the run's first LoRA: {error}", exit_code=ExitCode.RUN) from error

    def as_it_is(self) -> Source:
        """What the next picture would come from."""
        return Source(self.model.lora_state(), self.prior)

    @contextmanager
    def as_the_source(self) -> Iterator[None]:
        """Draw as the pictures of the round to learn from next were, for as long as it lasts."""
        if self.source is None:
            yield
            return
        prior, self.prior = self.prior, self.source.prior
        try:
            with self.model.with_lora(self.source.lora):
                yield
        finally:
            self.prior = prior

    def remember(self, batch: Batch, labels: Labels) -> None:
        """Add a round's labelled pictures to the memory; its best replaces the one so far."""
        self.memory = self.memory.plus(Memory.of_round(batch, labels))
        if labels.best is not None:
            self.best_C_H_W = batch.latents_B_C_H_W[labels.best].clone()

    def contrast(self, batch: Batch, labels: Labels) -> tuple[Tensor, Tensor] | None:
        """Positives and negatives for the embedding, best left out; None if either is missing.

        Of this round, or of all so far, as the settings say.
        """
        if self.network_features is not None:
            return None
        if self.best_C_H_W is None:
            return None
        known = self._known(batch, labels)
        is_best = (known.latents_N_C_H_W == self.best_C_H_W).flatten(1).all(1)
        positives = known.latents_N_C_H_W[known.good_N & ~is_best]
        negatives = known.latents_N_C_H_W[~known.good_N]
        return (positives, negatives) if len(positives) and len(negatives) else None

    def _known(self, batch: Batch, labels: Labels) -> Memory:
        """The labelled pictures that representation and reward learn from."""
        if self.settings.embedding.history == "round":
            return Memory.of_round(batch, labels)
        return self.memory

    def train_embedding(
        self, contrast: tuple[Tensor, Tensor], round: int, on_epoch: OnEpoch
    ) -> dict[str, float]:
        """Fit the embedding to what `contrast` gave; returns its losses.

        HeroError, exit code 1, where they or the weights are finite no longer.
        """
        assert self.best_C_H_W is not None
        device = self.model.device
        positives, negatives = (side.to(device) for side in contrast)
        losses = train_embedding(
            self.embedding,
            self.best_C_H_W.to(device),
            positives,
            negatives,
            self.settings.embedding,
            self.settings.seed,
            round,
            on_epoch,
        )
        _check_finite(self.embedding.parameters(), losses, round, "embedding")
        return losses

    def foreseen(self, batch: Batch) -> Tensor | None:
        """What the reward would be of pictures whose labels it does not know: (B,) on the CPU.

        None where nothing was learned yet, or labels themselves are the reward.
        """
        if self.settings.reward.kind == "labels":
            return None
        if self.settings.reward.kind == "probability":
            return self._chances(self.memory, batch)
        return self._similarity(batch)

    def rewards(self, batch: Batch, labels: Labels) -> Tensor | None:
        """The reward of every picture, (B,) on the CPU; None where there is nothing to be like."""
        kind = self.settings.reward.kind
        if kind == "labels":
            return label_reward(labels)
        if kind == "probability":
            return self._chances(self._known(batch, labels), batch)
        if kind == "positives" and labels.goods and self.best_C_H_W is not None:
            latents = batch.latents_B_C_H_W.to(self.model.device)
            return positives_reward(self.embedding, latents, latents[list(labels.goods)]).cpu()
        return self._similarity(batch)

    def _similarity(self, batch: Batch) -> Tensor | None:
        if self.best_C_H_W is None:
            return None
        device = self.model.device
        latents, best = batch.latents_B_C_H_W.to(device), self.best_C_H_W.to(device)
        return similarity_reward(self.embedding, latents, best).cpu()

    def _chances(self, known: Memory, batch: Batch) -> Tensor | None:
        chance = self._head(known)
        return None if chance is None else chance(self._features(batch.latents_B_C_H_W)).float()

    def chance_of_good(self, batch: Batch, labels: Labels) -> ChanceOfGood | None:
        """A head on the representation, fitted to the known labels; None where there are none."""
        return self._head(self._known(batch, labels))

    def _head(self, known: Memory) -> ChanceOfGood | None:
        if len(known.good_N) == 0:
            return None
        of_network = self.network_features is not None
        features = self._features(known.latents_N_C_H_W)
        return ChanceOfGood.fit(features, known.good_N, standardise=of_network)

    def features(self, latents_B_C_H_W: Tensor) -> Tensor:
        """What the representation sees in final latents: (B, F) on the CPU.

        The network's activations, or the embedding's features brought to length 1. The embedding
        has seen the labels that the head is fitted to, so its chances are surer than they should.
        """
        if self.network_features is not None:
            return self.network_features(latents_B_C_H_W)
        return self._embedded(latents_B_C_H_W)

    def _features(self, latents_B_C_H_W: Tensor) -> Tensor:
        """The same of labelled pictures, which come again every round."""
        if self.network_features is not None:
            return self.network_features.of_labelled(latents_B_C_H_W)
        return self._embedded(latents_B_C_H_W)

    @torch.no_grad()
    def _embedded(self, latents_B_C_H_W: Tensor) -> Tensor:
        features = self.embedding(latents_B_C_H_W.to(self.model.device))
        return torch.nn.functional.normalize(features).cpu()

    def experience(
        self, batch: Batch, labels: Labels, rewards_B: Tensor | None, round: int
    ) -> Experience:
        """What the round gives the update."""
        settings, source = self.settings, self.source
        return Experience(
            batch,
            labels,
            rewards_B,
            settings.prompt,
            round,
            settings.seed,
            self.memory,
            drawn_with=None if source is None else source.lora,
        )

    def improve(
        self, experience: Experience, on_progress: OnProgress, at_once: int | None = None
    ) -> dict[str, float]:
        """Update the LoRA weights, with so many pictures a forward pass.

        HeroError, exit code 1, where they are finite no longer. Where memory is short nothing has
        changed.
        """
        before = self.model.lora_state(), self.update.state_dict()
        self.update.minibatch = at_once or self.update.minibatch
        if not self.ranks.alone:
            self.ranks.order(update_order(self.model, self.update, experience))
        try:
            with self.ranks.together():
                metrics = self.update.step(experience, on_progress)
        except (RuntimeError, MemoryError):
            self.model.load_lora_state(before[0])
            self.update.load_state_dict(before[1])
            raise
        learned = [*self.model.lora_parameters(), *self.update.state_dict().values()]
        _check_finite(learned, metrics, experience.round, self.settings.update)
        return metrics

    def spare_memory(self) -> bool:
        """Compute activations again from here on; False where that is so, or is not wanted."""
        network, wanted = self.model.network, self.settings.gradient_checkpointing == "auto"
        if not wanted or network.is_gradient_checkpointing or not self.ranks.alone:
            return False
        network.enable_gradient_checkpointing()
        return True

    def parts(self) -> Parts:
        """All of it as named tensors."""
        return {
            "lora": self.model.lora_state(),
            "optimizer": self.update.state_dict(),
            "embedding": {name: each.cpu() for name, each in self.embedding.state_dict().items()},
            "prior": self.prior.tensors(),
            "best": {} if self.best_C_H_W is None else {"best_C_H_W": self.best_C_H_W},
            "memory": {
                "latents_N_C_H_W": self.memory.latents_N_C_H_W,
                "good_N": self.memory.good_N,
            },
            **({} if self.source is None else {"source": self.source.tensors()}),
        }

    def restore(self, parts: Parts) -> None:
        """Put back what `parts` gave. HeroError, exit code 4, where something does not fit."""
        try:
            self.model.load_lora_state(parts["lora"])
            self.update.load_state_dict(parts["optimizer"])
            self.embedding.load_state_dict(parts["embedding"])
            self.prior = NoisePrior.from_tensors(parts["prior"])
            self.best_C_H_W = parts["best"].get("best_C_H_W")
            self.memory = Memory(**parts["memory"])
            self.source = Source.from_tensors(parts["source"]) if "source" in parts else None
        except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise HeroError(
                f"the checkpoint does not fit the run: {reason}", exit_code=ExitCode.RUN
            ) from error


def _check_finite(
    learned: Iterable[Tensor], metrics: Mapping[str, float], round: int, part: str
) -> None:
    """HeroError, exit code 1, where a weight or a loss is NaN or infinite."""
    losses = [value for name, value in metrics.items() if "loss" in name]
    if all(bool(each.isfinite().all()) for each in learned) and all(map(isfinite, losses)):
        return
    raise HeroError(
        f"training in {round_name(round)} gave weights or losses that are not numbers; the run "
        "stays at its last checkpoint, from which hero resume tries again: should that end here "
        f"too, start a new run with a smaller {part}.learning_rate",
        exit_code=ExitCode.FAILED,
    )


def auc_of_labelled(rewards_B: Tensor, labels: Labels) -> float | None:
    """How well rewards rank the labelled pictures: share of (good, bad) pairs in order."""
    known = [index for index, good in enumerate(labels.good) if good is not None]
    goods = torch.tensor([bool(labels.good[index]) for index in known], dtype=torch.bool)
    return ranking_auc(rewards_B[known], goods)


def agreement_metric(name: str, rewards_B: Tensor | None, labels: Labels) -> dict[str, float]:
    """`auc_of_labelled` under that name; empty where there is nothing to rank."""
    auc = None if rewards_B is None else auc_of_labelled(rewards_B, labels)
    return {} if auc is None else {name: auc}


def diversity_metric(batch: Batch) -> dict[str, float]:
    """How far apart a round's pictures lie: the root mean square difference of an element of their
    final latents, as a mean over all pairs. Empty for a single picture.
    """
    if len(batch) < 2:
        return {}
    flat = batch.latents_B_C_H_W.flatten(1).double()
    return {"diversity": float(torch.pdist(flat).mean()) / flat.shape[1] ** 0.5}
