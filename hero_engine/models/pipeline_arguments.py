"""The arguments of a pipeline's call, for a conditioning."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from hero_engine.core.errors import HeroError
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.pipeline_facts import PipelineFacts

GUIDER = "guider"
"""In place of an argument: the pipeline is guided by a component of this name."""


@dataclass(frozen=True)
class PipelineArguments:
    """Makes the arguments of one pipeline's calls.

    height, width: of a picture, in pixels; 0 for the pipeline's own. scale: the run's guidance,
    for a network that takes it as an input where a conditioning has none. image: the picture that
    an editing pipeline changes.
    """

    pipeline: Any
    facts: PipelineFacts
    embedded: bool
    height: int = 0
    width: int = 0
    scale: float = 1.0
    image: Any = None

    @classmethod
    def for_pipeline(
        cls, pipeline: Any, network: Any, facts: PipelineFacts, size: tuple[int, int], scale: float
    ) -> Self:
        """size: (height, width); a 0 takes the other side's, or the pipeline's own."""
        height, width = size[0] or size[1], size[1] or size[0]
        embedded = bool(facts.embedded and network.config.get("guidance_embeds", False))
        if network.config.get("time_cond_proj_dim"):  # a latent consistency model's UNet
            embedded, facts = True, replace(facts, embedded=facts.guidance)
        return cls(pipeline, facts, embedded, height, width, scale)

    def editing(self, image: Any) -> PipelineArguments:
        """The same for changing this picture. HeroError, exit code 2, if the pipeline cannot."""
        if not self._has("image") or self._has("strength"):
            raise HeroError(
                f"sampler.image: {self.facts.title} takes no picture to change; "
                "Flux.2, Flux Kontext and Qwen-Image-Edit do"
            )
        return replace(self, image=image)

    def sized(self, height: int, width: int) -> PipelineArguments:
        """The same for pictures of another size."""
        return replace(self, height=height, width=width)

    def guided(self, conditioning: Conditioning) -> bool:
        """True if the call makes classifier-free guidance."""
        facts, scale = self.facts, conditioning.guidance
        if scale is None or self.embedded or not facts.guidance:
            return False
        if facts.distilled and self.pipeline.config.get(facts.distilled, False):
            return False
        return scale > facts.off

    def of(self, conditioning: Conditioning, steps: int = 1) -> dict[str, Any]:
        """The arguments of a call with this many steps."""
        made: dict[str, Any] = {"prompt": conditioning.prompt, "num_inference_steps": steps}
        if self.height:
            made |= {"height": self.height, "width": self.width}
        if self.image is not None:
            made["image"] = self.image
        if self.height and self._has("max_area"):  # or the pipeline draws a megapixel
            made["max_area"] = self.height * self.width
        return {**made, **self.facts.call, **self._guidance(conditioning)}

    def _guidance(self, conditioning: Conditioning) -> Mapping[str, Any]:
        facts, scale = self.facts, conditioning.guidance
        if self.embedded:
            return {facts.embedded: self.scale if scale is None else scale}
        if not facts.guidance:
            return {}
        guided = self.guided(conditioning)
        value = scale if guided and scale is not None else facts.off
        if facts.guidance == GUIDER:
            self._set_guiders(value, enabled=guided)
            return {"negative_prompt": conditioning.negative_prompt}
        made: dict[str, Any] = {facts.guidance: value}
        if guided and self._has("negative_prompt"):
            made["negative_prompt"] = conditioning.negative_prompt or facts.no_negative
        return made

    def _has(self, name: str) -> bool:
        return name in inspect.signature(type(self.pipeline).__call__).parameters

    def _set_guiders(self, scale: float, *, enabled: bool) -> None:
        """Plain classifier-free guidance: the pipeline's own guiders look at the step's number and
        at the steps before, so that what they predict is no function of x_t and t.
        """
        from diffusers.guiders import ClassifierFreeGuidance

        guider = ClassifierFreeGuidance(guidance_scale=scale, enabled=enabled)
        self.pipeline.guider = self.pipeline.ocr_guider = guider
