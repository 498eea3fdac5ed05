"""What a prediction is conditioned on, as plain values: no tensor, no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from hero_engine.config.settings import SamplerSettings


@dataclass(frozen=True)
class Conditioning:
    """A prompt, and how strongly the model is guided towards it.

    guidance: the scale; None: no classifier-free guidance. A network that takes its guidance as an
    input (Flux.1-dev) then gets the scale that the run samples with, so that training and sampling
    see the same network. negative_prompt: what classifier-free guidance leads away from.
    """

    prompt: str
    negative_prompt: str = ""
    guidance: float | None = None

    @classmethod
    def of_sampler(cls, prompt: str, sampler: SamplerSettings) -> Self:
        """As the sampler draws pictures of this prompt."""
        return cls(prompt, sampler.negative_prompt, sampler.guidance)

    @property
    def guided(self) -> bool:
        """True if the scale asks for classifier-free guidance: it is above 1."""
        return self.guidance is not None and self.guidance > 1
