"""Stable Diffusion 1.x and 2.x: a UNet that attends to one text encoder's states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hero_engine.models.families.family import Family, Size

if TYPE_CHECKING:
    from torch import Tensor

    from hero_engine.models.diffusion_process import Process

KOHYA = "lora_unet_"


class StableDiffusion(Family):
    """Noise or v, as the scheduler's configuration says: 2.x at 768 pixels predicts v."""

    title = "Stable Diffusion 1.x and 2.x"
    pipeline = "StableDiffusionPipeline"
    opening: ClassVar[Mapping[str, Any]] = {
        "safety_checker": None,
        "requires_safety_checker": False,
    }

    def encode(self, pipeline: Any, text: str, device: Any) -> tuple[Tensor, Tensor | None]:
        """The text encoder's last hidden state."""
        tokens = pipeline.tokenizer(
            text,
            padding="max_length",
            max_length=pipeline.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return pipeline.text_encoder(tokens.input_ids.to(device))[0], None

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
        """See `Family.denoise`."""
        output: Tensor = network(
            x_t, timesteps_B, encoder_hidden_states=hidden_B_T_D, return_dict=False
        )[0]
        return output

    def process(self, pipeline: Any, latent_size: Size) -> Process:
        """DDIM on the pipeline's own noise schedule. Latents are never clipped to [-1, 1]."""
        from diffusers import DDIMScheduler

        from hero_engine.models.ddim import Diffusion

        return Diffusion(
            DDIMScheduler.from_config(
                pipeline.scheduler.config, clip_sample=False, thresholding=False
            )
        )

    def kohya_name(self, layer: str) -> str:
        """kohya's scripts train diffusers' UNet, so the names are diffusers' own."""
        return KOHYA + layer.replace(".", "_")
