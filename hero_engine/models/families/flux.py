"""Flux: a transformer on pairs of latent pixels that predicts a flow's velocity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hero_engine.models.families.family import Family, Size

if TYPE_CHECKING:
    from torch import Tensor

    from hero_engine.models.diffusion_process import Process

TRAIN_STEPS = 1000


class Flux(Family):
    """CLIP's pooled vector and T5's states. The "dev" weights take guidance as an input."""

    title = "Flux.1"
    pipeline = "FluxPipeline"
    network = "transformer"
    network_class = "FluxTransformer2DModel"
    settings: ClassVar[Mapping[str, Any]] = {"sampler": {"steps": 28, "eta": 0.5, "guidance": 3.5}}
    step = 2

    def encode(self, pipeline: Any, text: str, device: Any) -> tuple[Tensor, Tensor | None]:
        """T5's states, and CLIP's pooled vector."""
        hidden, pooled, _ = pipeline.encode_prompt(text, text, device=device)
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
        """Two by two latent pixels are one token, with its row and column as its place."""
        rows, _, height, width = x_t.shape
        strength = x_t.new_full((rows,), guidance).float() if self.distilled(network) else None
        output: Tensor = network(
            hidden_states=packed(x_t),
            timestep=timesteps_B / TRAIN_STEPS,
            guidance=strength,
            pooled_projections=pooled_B_P,
            encoder_hidden_states=hidden_B_T_D,
            txt_ids=x_t.new_zeros(hidden_B_T_D.shape[1], 3),
            img_ids=places(x_t),
            return_dict=False,
        )[0]
        return unpacked(output, height, width)

    def feature_layers(self, network: Any) -> list[Any]:
        """The transformer block in the middle."""
        blocks = network.transformer_blocks
        return [blocks[len(blocks) // 2]]

    def process(self, pipeline: Any, latent_size: Size) -> Process:
        """The pipeline's own schedule, shifted by the picture's size where it wants that."""
        from hero_engine.models.flow import Flow, shift_of

        patches = (latent_size[0] // 2) * (latent_size[1] // 2)
        return Flow(pipeline.scheduler, shift_of(pipeline.scheduler.config, patches), even=True)

    def channels(self, network: Any) -> int:
        """A token holds four latent pixels."""
        return int(network.config.in_channels) // 4

    def latent_size(self, network: Any) -> Size:
        """1024 pixels: the network itself has no size."""
        return 128, 128

    def distilled(self, network: Any) -> bool:
        """True of "dev", not of "schnell"."""
        return bool(network.config.guidance_embeds)


def packed(x_B_C_H_W: Tensor) -> Tensor:
    """Two by two pixels of a latent as one token: (B, H/2 W/2, 4 C)."""
    B, C, H, W = x_B_C_H_W.shape
    blocks = x_B_C_H_W.reshape(B, C, H // 2, 2, W // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(B, (H // 2) * (W // 2), 4 * C)


def unpacked(tokens_B_N_D: Tensor, height: int, width: int) -> Tensor:
    """What `packed` packed."""
    B, _, D = tokens_B_N_D.shape
    blocks = tokens_B_N_D.reshape(B, height // 2, width // 2, D // 4, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(B, D // 4, height, width)


def places(x_B_C_H_W: Tensor) -> Tensor:
    """(0, row, column) of every token: (N, 3)."""
    height, width = x_B_C_H_W.shape[-2] // 2, x_B_C_H_W.shape[-1] // 2
    ids = x_B_C_H_W.new_zeros(height, width, 3)
    ids[..., 1] = x_B_C_H_W.new_tensor(range(height))[:, None]
    ids[..., 2] = x_B_C_H_W.new_tensor(range(width))[None, :]
    return ids.reshape(height * width, 3)
