"""Stable Diffusion XL: two text encoders, a pooled vector, and sizes as added conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hero_engine.models.families.family import Size
from hero_engine.models.families.stable_diffusion import KOHYA, StableDiffusion

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = re.compile(
    r"(?P<side>down_blocks|up_blocks|mid_block)\.((?P<index>\d+)\.)?"
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<place>\d+)"
)
KINDS = ("resnets", "attentions")
PLACES = 3
"""A block has two layers going down, and its downsampler; three going up."""
INSIDE = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""Of a residual block."""


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

    def kohya_name(self, layer: str) -> str:
        """kohya's scripts train Stability's own UNet, so the names are of its blocks."""
        return KOHYA + stability_name(layer).replace(".", "_")


def stability_name(layer: str) -> str:
    """A layer of diffusers' UNet as Stability's code names it.

    There all residual, attention and sampling blocks of a side are counted through, three places
    for each of diffusers' blocks on the way down and up: "down_blocks.1.attentions.0.proj_in" is
    "input_blocks.4.1.proj_in". Names without such a block stay as they are.
    """
    block = BLOCK.match(layer)
    if block is None:
        return layer
    side, index, kind, place = block.group("side", "index", "kind", "place")
    rest, at = layer[block.end() :], int(place)
    if kind == "resnets":
        rest = INSIDE.get(rest.removeprefix("."), rest)
    if side == "mid_block":
        return f"middle_block.{2 * at if kind == 'resnets' else 2 * at + 1}.{rest.lstrip('.')}"
    first = PLACES * int(index)
    if kind == "downsamplers":
        return f"input_blocks.{first + PLACES}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{first + PLACES - 1}.2.conv"
    number, name = (
        (first + 1 + at, "input_blocks") if side == "down_blocks" else (first + at, "output_blocks")
    )
    return f"{name}.{number}.{KINDS.index(kind)}.{rest.lstrip('.')}"
