"""Stable Diffusion XL: two text encoders, a pooled vector, and sizes as added conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hero_engine.families.family import Size
from hero_engine.families.stable_diffusion import StableDiffusion

if TYPE_CHECKING:
    from torch import Tensor


class StableDiffusionXL(StableDiffusion):
    """The base model; the refiner has another pipeline, and other conditions."""

    title = "Stable Diffusion XL"
    pipeline = "StableDiffusionXLPipeline"
    opening: ClassVar[Mapping[str, Any]] = {}

    def encode(self, pipeline: Any, text: str, device: Any) -> tuple[Tensor, Tensor | None]:
        """Both encoders' states side by side, and the second one's pooled vector.

        Where the pipeline says so, as SDXL's does, no text is zeros: no negative prompt.
        """
        hidden, _, pooled, _ = pipeline.encode_prompt(
            text, device=device, do_classifier_free_guidance=False
        )
        if not text and pipeline.config.force_zeros_for_empty_prompt:
            return hidden.new_zeros(hidden.shape), pooled.new_zeros(pooled.shape)
        return hidden, pooled

    def denoise(
        self,
        network: Any,
        x_t: Tensor,
        timesteps_B: Tensor,
        hidden_B_T_D: Tensor,
        pooled_B_P: Tensor | None,
        *,
        size: Size,
        guidance: float,
    ) -> Tensor:
        """The picture is said to be uncropped, and to have been of its own size."""
        assert pooled_B_P is not None
        ids = pooled_B_P.new_tensor([*size, 0, 0, *size]).expand(len(x_t), -1)
        output: Tensor = network(
            x_t,
            timesteps_B,
            encoder_hidden_states=hidden_B_T_D,
            added_cond_kwargs={"text_embeds": pooled_B_P, "time_ids": ids},
            return_dict=False,
        )[0]
        return output
