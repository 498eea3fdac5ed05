"""What a prediction is conditioned on, as plain values: no tensor, no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from hero_engine.config.prompts import Group, Size

if TYPE_CHECKING:
    from hero_engine.config.settings import SamplerSettings


@dataclass(frozen=True)
class Conditioning:
    """A prompt, and how strongly the model is guided towards it.

    guidance: the scale; None: no classifier-free guidance. A network that takes its guidance as an
    input (Flux.1-dev) then gets the scale that the run samples with, so that training and sampling
    see the same network. negative_prompt: what classifier-free guidance leads away from. size:
    width and height of the image, image: path of the picture to change; None and "": the model's.
    """

    prompt: str
    negative_prompt: str = ""
    guidance: float | None = None
    size: Size | None = None
    image: str = ""

    @classmethod
    def plain(cls, drawn: str | Group) -> Self:
        """Without classifier-free guidance."""
        group = as_group(drawn)
        return cls(group.prompt, size=group.size, image=group.image)

    @classmethod
    def of_sampler(cls, drawn: str | Group, sampler: SamplerSettings) -> Self:
        """As the sampler draws pictures of this prompt."""
        group = as_group(drawn)
        return cls(group.prompt, sampler.negative_prompt, sampler.guidance, group.size, group.image)

    @property
    def guided(self) -> bool:
        """True if the scale asks for classifier-free guidance: it is above 1."""
        return self.guidance is not None and self.guidance > 1


def as_group(drawn: str | Group) -> Group:
    """A prompt alone as a group: in the model's own size."""
    return Group(drawn) if isinstance(drawn, str) else drawn
