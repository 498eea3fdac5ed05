"""The policy that images are sampled from, at one moment of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from hero_engine.policy.noise_prior import GroupPriors


@dataclass(frozen=True)
class PolicySnapshot:
    """LoRA weights, by name on the CPU, and the priors over initial noises."""

    lora: Mapping[str, Tensor]
    priors: GroupPriors

    def tensors(self) -> dict[str, Tensor]:
        """The snapshot as a flat dict, for a checkpoint."""
        lora = {f"lora.{name}": weight for name, weight in self.lora.items()}
        return lora | {f"prior.{name}": noise for name, noise in self.priors.tensors().items()}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor]) -> Self:
        """The snapshot that `tensors` wrote."""
        lora, prior = (
            {name.removeprefix(part): each for name, each in flat.items() if name.startswith(part)}
            for part in ("lora.", "prior.")
        )
        return cls(lora, GroupPriors.from_tensors(prior))
