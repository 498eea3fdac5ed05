"""Stable Diffusion 3 and 3.5: a transformer that predicts a flow's velocity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hero_engine.models.families.family import Family, Size

if TYPE_CHECKING:
    from torch import Tensor

    from hero_engine.models.diffusion_process import Process


class StableDiffusion3(Family):
    """Two CLIP encoders and T5, which a pipeline may leave out."""

    title = "Stable Diffusion 3 and 3.5"
    pipeline = "StableDiffusion3Pipeline"
    network = "transformer"
    network_class = "SD3Transformer2DModel"
    settings: ClassVar[Mapping[str, Any]] = {"sampler": {"steps": 28, "eta": 0.5, "guidance": 4.5}}
    step = 2

    def encode(self, pipeline: Any, text: str, device: Any) -> tuple[Tensor, Tensor | None]:
        """The three encoders' states one after the other, and the CLIP encoders' pooled vectors."""
        hidden, _, pooled, _ = pipeline.encode_prompt(
            text, text, text, device=device, do_classifier_free_guidance=False
        )
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
        """See `Family.denoise`."""
        output: Tensor = network(
            hidden_states=x_t,
            timestep=timesteps_B,
            encoder_hidden_states=hidden_B_T_D,
            pooled_projections=pooled_B_P,
            return_dict=False,
        )[0]
        return output

    def feature_layers(self, network: Any) -> list[Any]:
        """The transformer block in the middle."""
        blocks = network.transformer_blocks
        return [blocks[len(blocks) // 2]]

    def process(self, pipeline: Any, latent_size: Size) -> Process:
        """The pipeline's own schedule, shifted by the picture's size where it wants that."""
        from hero_engine.models.flow import Flow, shift_of

        config = pipeline.scheduler.config
        patch = pipeline.transformer.config.patch_size
        patches = (latent_size[0] // patch) * (latent_size[1] // patch)
        dynamic = config.use_dynamic_shifting
        return Flow(pipeline.scheduler, shift_of(config, patches) if dynamic else None)
