"""What one round hands to the next: a value. Every step of the loop returns a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from hero_engine.core.labelled_round import Best, LabelledLatents, LabelledRound
from hero_engine.policy.noise_prior import NoisePrior, good_noises
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.storage.run_folder import Parts


@dataclass(frozen=True)
class State:
    """All that was learned so far; tensors on the CPU, which nothing changes in place.

    round: the round that starts from this state. labels_used: labels of the rounds before it.
    lora, embedding: weights by name. optimizer: the update's own tensors. best: None before the
    first good image. good_noises_N_C_H_W: initial noises of the last round's other good images.
    memory: every labelled image so far. behaviour: the policy that samples this round, where it is
    not this state's own: see the setting `sample_ahead`.
    """

    round: int
    labels_used: int
    lora: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    embedding: Mapping[str, Tensor]
    memory: LabelledLatents
    best: Best | None = None
    good_noises_N_C_H_W: Tensor | None = None
    behaviour: PolicySnapshot | None = None

    @property
    def prior(self) -> NoisePrior:
        """The prior over initial noises, as learned so far."""
        best = None if self.best is None else self.best.noise_C_H_W
        return NoisePrior(best, self.good_noises_N_C_H_W)

    @property
    def policy(self) -> PolicySnapshot:
        """The policy, as learned so far."""
        return PolicySnapshot(self.lora, self.prior)

    @property
    def sampling_policy(self) -> PolicySnapshot:
        """The policy that this round's images are sampled from."""
        return self.behaviour or self.policy

    @property
    def staleness(self) -> int:
        """Rounds that the sampling policy has not learned from: 0 or 1."""
        return int(self.behaviour is not None)

    def with_labels(self, round: LabelledRound) -> State:
        """Remember a round's labelled images; its best replaces the one so far."""
        memory = self.memory.plus(round.known)
        used = self.labels_used + round.labels.labelled
        return replace(self, memory=memory, best=round.best or self.best, labels_used=used)

    def next_round(self, round: LabelledRound, behaviour: PolicySnapshot | None) -> State:
        """The state the next round starts from: the prior moves to this round's good noises.

        behaviour: the policy that sampled the next round ahead; None where nothing did.
        """
        return replace(
            self,
            round=round.number + 1,
            good_noises_N_C_H_W=good_noises(round),
            behaviour=behaviour,
        )

    def parts(self) -> Parts:
        """The state as files of named tensors, for a checkpoint."""
        best = {} if self.best is None else {"best_C_H_W": self.best.latent_C_H_W}
        parts = {
            "lora": dict(self.lora),
            "optimizer": dict(self.optimizer),
            "embedding": dict(self.embedding),
            "prior": self.prior.tensors(),
            "best": best,
            "memory": {
                "latents_N_C_H_W": self.memory.latents_N_C_H_W,
                "good_N": self.memory.good_N,
            },
        }
        return parts if self.behaviour is None else parts | {"source": self.behaviour.tensors()}

    @classmethod
    def from_parts(cls, parts: Parts, round: int, labels_used: int) -> Self:
        """The state that `parts` wrote. KeyError or TypeError where something is missing."""
        prior, behaviour = NoisePrior.from_tensors(parts["prior"]), None
        if "source" in parts:
            behaviour = PolicySnapshot.from_tensors(parts["source"])
        best = None
        if "best_C_H_W" in parts["best"]:
            best = Best(parts["best"]["best_C_H_W"], parts["prior"]["best_C_H_W"])
        return cls(
            round,
            labels_used,
            parts["lora"],
            parts["optimizer"],
            parts["embedding"],
            LabelledLatents(**parts["memory"]),
            best,
            prior.goods_N_C_H_W,
            behaviour,
        )
