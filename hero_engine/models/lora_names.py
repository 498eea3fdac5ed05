"""What kohya's scripts, and after them A1111 and ComfyUI, call the layers of a network."""

from __future__ import annotations

import re

from hero_engine.models.pipeline_facts import Naming

KOHYA = "lora_unet_"
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

OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
"""Layers that are in no block."""


def kohya_name(layer: str, naming: Naming) -> str:
    """The layer's name in a file of kohya's layout; empty if none is documented for it.

    After kohya-ss/sd-scripts, networks/lora.py and library/sdxl_model_util.py: SD 1.x and 2.x by
    diffusers' names of the UNet, SDXL by Stability's.
    """
    if naming == "diffusers":
        return KOHYA + layer.replace(".", "_")
    if naming == "stability":
        return KOHYA + stability_name(layer).replace(".", "_")
    return ""


def stability_name(layer: str) -> str:
    """A layer of diffusers' UNet as Stability's code names it.

    There all residual, attention and sampling blocks of a side are counted through, three places
    for each of diffusers' blocks on the way down and up: "down_blocks.1.attentions.0.proj_in" is
    "input_blocks.4.1.proj_in".
    """
    block = BLOCK.match(layer)
    if block is None:
        return OUTSIDE.get(layer, layer)
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
