"""A pipeline as one checkpoint file, in the layout Stability published its models in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from hero_engine.models.lora_names import stability_name

UNET_TOPS = {"conv_norm_out": "out.0"}
VAE_NAMES = (
    (r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)", r"up.\1.block.\2"),
    (r"up_blocks\.(\d+)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.resnets\.(\d+)", r"mid.block_\1"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
)


def write_single_file(pipeline: Any, path: Path) -> Path:
    """All weights under their old names."""
    save_file({name: weight.contiguous() for name, weight in _named(pipeline)}, path)
    return path


def _named(pipeline: Any) -> Iterator[tuple[str, Any]]:
    for name, weight in pipeline.unet.state_dict().items():
        layer, end = name.rsplit(".", 1)
        yield f"model.diffusion_model.{UNET_TOPS.get(layer) or stability_name(layer)}.{end}", weight
    blocks = len(pipeline.vae.config.up_block_types)
    for name, weight in pipeline.vae.state_dict().items():
        yield f"first_stage_model.{_vae_name(name, blocks)}", weight
    for name, weight in pipeline.text_encoder.state_dict().items():
        short = name.removeprefix("text_model.")
        yield f"cond_stage_model.transformer.text_model.{short}", weight


def _vae_name(name: str, blocks: int) -> str:
    """Blocks on the way up were counted from the other end, the middle ones from 1."""
    turn: Any = lambda m: f"up_blocks.{blocks - 1 - int(m[1])}."  # noqa: E731
    name = re.sub(r"up_blocks\.(\d+)\.", turn, name)
    raised: Any = lambda m: f"mid_block.resnets.{int(m[1]) + 1}"  # noqa: E731
    name = re.sub(r"mid_block\.resnets\.(\d+)", raised, name)
    for new, old in VAE_NAMES:
        name = re.sub(new, old, name)
    return name
