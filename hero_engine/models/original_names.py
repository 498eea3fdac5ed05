"""Names of layers in the code that a transformer was first published with.

kohya's files have these names. Some original layers are several of diffusers' stacked: queries,
keys and values are one product there. Sources: kohya-ss/sd-scripts (networks/lora_flux.py,
lora_sd3.py, lora_lumina.py) and ComfyUI (comfy/utils.py; HunyuanImage: comfy/ldm/hunyuan_video).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hero_engine.models.pipeline_facts import Naming

Pair = tuple[Tensor, Tensor]
"""A (rank, inputs) and B (outputs, rank) of a LoRA layer."""

QKV = ("to_q", "to_k", "to_v")
ADDED_QKV = ("add_q_proj", "add_k_proj", "add_v_proj")


def _inside(block: str, ends: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{block}.{end}" for end in ends)


def _flux_blocks(stacked_modulation: bool = True) -> dict[str, tuple[str, ...]]:
    """Double and single blocks, as Flux, Chroma and HunyuanImage have them."""
    double, single = "transformer_blocks.{}", "single_transformer_blocks.{}"
    made = {
        "double_blocks.{}.img_attn.qkv": _inside(f"{double}.attn", QKV),
        "double_blocks.{}.txt_attn.qkv": _inside(f"{double}.attn", ADDED_QKV),
        "double_blocks.{}.img_attn.proj": (f"{double}.attn.to_out.0",),
        "double_blocks.{}.txt_attn.proj": (f"{double}.attn.to_add_out",),
        "double_blocks.{}.img_mlp.0": (f"{double}.ff.net.0.proj",),
        "double_blocks.{}.img_mlp.2": (f"{double}.ff.net.2",),
        "double_blocks.{}.txt_mlp.0": (f"{double}.ff_context.net.0.proj",),
        "double_blocks.{}.txt_mlp.2": (f"{double}.ff_context.net.2",),
        "single_blocks.{}.linear1": (*_inside(f"{single}.attn", QKV), f"{single}.proj_mlp"),
        "single_blocks.{}.linear2": (f"{single}.proj_out",),
    }
    if stacked_modulation:
        made |= {
            "double_blocks.{}.img_mod.lin": (f"{double}.norm1.linear",),
            "double_blocks.{}.txt_mod.lin": (f"{double}.norm1_context.linear",),
            "single_blocks.{}.modulation.lin": (f"{single}.norm.linear",),
        }
    return made


def _sd3_blocks() -> dict[str, tuple[str, ...]]:
    ours, x, text = (
        "transformer_blocks.{}",
        "joint_blocks.{}.x_block",
        "joint_blocks.{}.context_block",
    )
    return {
        f"{x}.attn.qkv": _inside(f"{ours}.attn", QKV),
        f"{text}.attn.qkv": _inside(f"{ours}.attn", ADDED_QKV),
        f"{x}.attn2.qkv": _inside(f"{ours}.attn2", QKV),
        f"{x}.attn.proj": (f"{ours}.attn.to_out.0",),
        f"{x}.attn2.proj": (f"{ours}.attn2.to_out.0",),
        f"{text}.attn.proj": (f"{ours}.attn.to_add_out",),
        f"{x}.mlp.fc1": (f"{ours}.ff.net.0.proj",),
        f"{x}.mlp.fc2": (f"{ours}.ff.net.2",),
        f"{text}.mlp.fc1": (f"{ours}.ff_context.net.0.proj",),
        f"{text}.mlp.fc2": (f"{ours}.ff_context.net.2",),
        f"{x}.adaLN_modulation.1": (f"{ours}.norm1.linear",),
    }


def _lumina_blocks() -> dict[str, tuple[str, ...]]:
    made: dict[str, tuple[str, ...]] = {}
    for part in ("layers", "noise_refiner", "context_refiner"):
        block = f"{part}.{{}}"
        made |= {
            f"{block}.attention.qkv": _inside(f"{block}.attn", QKV),
            f"{block}.attention.out": (f"{block}.attn.to_out.0",),
            f"{block}.adaLN_modulation.1": (f"{block}.norm1.linear",),
        }
        made |= {
            f"{block}.feed_forward.w{n}": (f"{block}.feed_forward.linear_{n}",) for n in (1, 2, 3)
        }
    return made


def _hunyuan_blocks() -> dict[str, tuple[str, ...]]:
    ours = "context_embedder.token_refiner.refiner_blocks.{}"
    original = "txt_in.individual_token_refiner.blocks.{}"
    return _flux_blocks() | {
        f"{original}.self_attn.qkv": _inside(f"{ours}.attn", QKV),
        f"{original}.self_attn.proj": (f"{ours}.attn.to_out.0",),
        f"{original}.mlp.0": (f"{ours}.ff.net.0.proj",),
        f"{original}.mlp.2": (f"{ours}.ff.net.2",),
    }


TABLES: Mapping[Naming, Mapping[str, tuple[str, ...]]] = {
    "flux": _flux_blocks(),
    "chroma": _flux_blocks(stacked_modulation=False),
    "sd3": _sd3_blocks(),
    "lumina": _lumina_blocks(),
    "hunyuan": _hunyuan_blocks(),
}
"""Of each naming: an original layer, and diffusers' layers whose outputs it stacks, in order."""


@dataclass(frozen=True)
class OriginalLayer:
    """One layer of the original code, and diffusers' layers that it is made of."""

    name: str
    parts: tuple[str, ...]


def original_layers(naming: Naming, layers: Collection[str]) -> Iterator[OriginalLayer]:
    """Those that a network with these layers has, all of their parts among them."""
    known = set(layers)
    for original, parts in TABLES.get(naming, {}).items():
        pattern = re.compile(re.escape(parts[0]).replace(r"\{\}", r"(\d+)"))
        for layer in layers:
            if match := pattern.fullmatch(layer):
                names = tuple(part.format(match[1]) for part in parts)
                if known.issuperset(names):
                    yield OriginalLayer(original.format(match[1]), names)


def stack(pairs: Sequence[Pair | None], rows: Sequence[int]) -> Pair:
    """One pair with the products of several, below each other.

    pairs: None for a layer without LoRA. rows: the outputs of each layer. The rank is the sum.
    """
    given = [pair for pair in pairs if pair is not None]
    B = given[0][1].new_zeros(sum(rows), sum(len(A) for A, _ in given))
    row = column = 0
    for pair, height in zip(pairs, rows, strict=True):
        if pair is not None:
            rank = len(pair[0])
            B[row : row + height, column : column + rank] = pair[1]
            column += rank
        row += height
    return torch.cat([A for A, _ in given]), B


def unstack(pair: Pair, rows: Sequence[int]) -> list[Pair | None]:
    """What `stack` joined; None for a part without effect. ValueError for another height.

    Ranks that a part does not use are dropped, so that stacking loses nothing.
    """
    A, B = pair
    if len(B) != sum(rows):
        raise ValueError(f"{len(B)} outputs, where the layers have {sum(rows)}")
    parts = ((part, part.any(0)) for part in torch.split(B, list(rows)))
    return [
        (A[used].contiguous(), part[:, used].contiguous()) if bool(used.any()) else None
        for part, used in parts
    ]
