"""What one round hands to the next: a value. Every step of the loop returns a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from torch import Tensor

from hero_engine.core.batch import distinct
from hero_engine.core.labelled_round import Best, LabelledLatents, LabelledRound
from hero_engine.policy.noise_prior import (
    GroupPriors,
    NoisePrior,
    good_noises,
    group_name,
    named_group,
)
from hero_engine.policy.policy_snapshot import PolicySnapshot
from hero_engine.storage.run_folder import Parts


@dataclass(frozen=True)
class State:
    """All that was learned so far; tensors on the CPU, which nothing changes in place.

    round: the round that starts from this state. labels_used: labels of the rounds before it.
    lora, embedding: weights by name. optimizer: the update's own tensors. memory: every labelled
    image so far. bests: the best image of each group (prompt) that has had a good one.
    good_noises: initial noises of each group's other good images in its last round, (N, C, H, W).
    behaviour: the policy that samples this round, where it is not this state's own: see the setting
    `sample_ahead`.
    """

    round: int
    labels_used: int
    lora: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    embedding: Mapping[str, Tensor]
    memory: LabelledLatents
    bests: Mapping[int, Best] = field(default_factory=dict)
    good_noises: Mapping[int, Tensor] = field(default_factory=dict)
    behaviour: PolicySnapshot | None = None

    @property
    def priors(self) -> GroupPriors:
        """The priors over initial noises, as learned so far."""
        return GroupPriors(
            {group: self._prior(group) for group in sorted({*self.bests, *self.good_noises})}
        )

    def _prior(self, group: int) -> NoisePrior:
        best = self.bests.get(group)
        noise = None if best is None else best.noise_C_H_W
        return NoisePrior(noise, self.good_noises.get(group))

    @property
    def policy(self) -> PolicySnapshot:
        """The policy, as learned so far."""
        return PolicySnapshot(self.lora, self.priors)

    @property
    def sampling_policy(self) -> PolicySnapshot:
        """The policy that this round's images are sampled from."""
        return self.behaviour or self.policy

    @property
    def staleness(self) -> int:
        """Rounds that the sampling policy has not learned from: 0 or 1."""
        return int(self.behaviour is not None)

    def with_labels(self, round: LabelledRound) -> State:
        """Remember a round's labelled images; its best images replace those so far."""
        memory = self.memory.plus(round.known)
        used = self.labels_used + round.labels.labelled
        return replace(self, memory=memory, bests={**self.bests, **round.bests}, labels_used=used)

    def next_round(self, round: LabelledRound, behaviour: PolicySnapshot | None) -> State:
        """The state the next round starts from: the priors move to this round's good noises.

        A prompt without an image in this round keeps its noises. behaviour: the policy that sampled
        the next round ahead; None where nothing did.
        """
        seen = {*distinct(round.batch.group_ids)}
        kept = {group: each for group, each in self.good_noises.items() if group not in seen}
        return replace(
            self,
            round=round.number + 1,
            good_noises={**kept, **good_noises(round)},
            behaviour=behaviour,
        )

    def parts(self) -> Parts:
        """The state as files of named tensors, for a checkpoint."""
        bests = {
            group_name("best_C_H_W", group): best.latent_C_H_W for group, best in self.bests.items()
        }
        parts = {
            "lora": dict(self.lora),
            "optimizer": dict(self.optimizer),
            "embedding": dict(self.embedding),
            "prior": self.priors.tensors(),
            "best": bests,
            "memory": self.memory.tensors(),
        }
        return parts if self.behaviour is None else parts | {"source": self.behaviour.tensors()}

    @classmethod
    def from_parts(cls, parts: Parts, round: int, labels_used: int) -> Self:
        """The state that `parts` wrote. KeyError or TypeError where something is missing."""
        priors, behaviour = GroupPriors.from_tensors(parts["prior"]), None
        if "source" in parts:
            behaviour = PolicySnapshot.from_tensors(parts["source"])
        bests = {
            named_group(name)[1]: Best(latent, parts["prior"][name])
            for name, latent in parts["best"].items()
        }
        return cls(
            round,
            labels_used,
            parts["lora"],
            parts["optimizer"],
            parts["embedding"],
            LabelledLatents(**parts["memory"]),
            bests,
            {
                group: prior.goods_N_C_H_W
                for group, prior in priors.by_group.items()
                if prior.goods_N_C_H_W is not None
            },
            behaviour,
        )
