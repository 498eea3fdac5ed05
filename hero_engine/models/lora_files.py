"""LoRA files: the layouts of diffusers and of kohya's scripts (A1111, ComfyUI), out and in.

A pair's effect is (alpha / rank) B A. diffusers' file: `unet.LAYER.lora_A.weight`, the scale in B.
kohya's: `lora_unet_LAYER.lora_down.weight`, `.lora_up.weight` and `.alpha`, with names as
`lora_names` gives them (after kohya-ss/sd-scripts, networks/lora.py and lora_diffusers.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError, one_line
from hero_engine.models.lora import layer_names, targets_of
from hero_engine.models.lora_names import kohya_name
from hero_engine.models.pipeline_facts import PipelineFacts

PAIRS = (
    ("lora_A.weight", "lora_B.weight"),
    ("lora_down.weight", "lora_up.weight"),
    ("lora.down.weight", "lora.up.weight"),
)
TEXT_ENCODERS = ("text_encoder", "lora_te")


def diffusers_lora(
    state: Mapping[str, Tensor], lora: LoraSettings, network: str = "unet"
) -> dict[str, Tensor]:
    """What `Model.lora_state` gave, as diffusers' `load_lora_weights` reads it.

    network: the pipeline's name for what has the weights. The scale alpha / rank is folded into
    the B matrices, so that no reader needs to know alpha.
    """
    scale = lora.alpha / lora.rank
    return {
        f"{network}.{name}": (weight * scale if ".lora_B." in name else weight).contiguous()
        for name, weight in state.items()
    }


def kohya_lora(
    state: Mapping[str, Tensor], lora: LoraSettings, facts: PipelineFacts
) -> dict[str, Tensor]:
    """What `Model.lora_state` gave, as A1111 and ComfyUI read it.

    HeroError where no names are documented for this kind of model.
    """
    made: dict[str, Tensor] = {}
    for name, weight in state.items():
        layer, part = name.rsplit(".lora_", 1)
        kohya = kohya_name(layer, facts.kohya)
        if not kohya:
            raise HeroError(
                f"--format kohya: no such layout is documented for {facts.title}; "
                "ComfyUI reads --format diffusers"
            )
        side = "down" if part.startswith("A.") else "up"
        made[f"{kohya}.lora_{side}.weight"] = weight
        made[f"{kohya}.alpha"] = torch.tensor(float(lora.alpha))
    return made


@dataclass(frozen=True)
class FoundLora:
    """Someone's LoRA, as a run begins with it.

    state: as `Model.lora_state`, float32. lora: settings that fit it, with alpha = rank: any other
    scale is in the B matrices. left_out: tensors of text encoders, which hero does not train.
    """

    state: dict[str, Tensor]
    lora: LoraSettings
    left_out: int


def read_lora(path: Path, facts: PipelineFacts, part: str, network: Any) -> FoundLora:
    """A LoRA file in either layout, for this network (its weights are not looked at).

    part: what the pipeline calls the network.

    HeroError, exit code 2, where it cannot be read or does not fit.
    """
    tensors, declared = _contents(path, part)
    text = {name for name in tensors if name.startswith(TEXT_ENCODERS)}
    rest = {name: tensor.float() for name, tensor in tensors.items() if name not in text}
    layers = dict(network.named_modules())
    state: dict[str, Tensor] = {}
    for layer in layer_names(network):
        for base in _bases(layer, facts, part):
            if pair := _taken(rest, base, declared):
                _check_shapes(path, layer, layers[layer].weight, *pair)
                state[f"{layer}.lora_A.weight"], state[f"{layer}.lora_B.weight"] = pair
    if rest or not state:
        odd = f"it has {min(rest)}" if rest else "it has none of its layers"
        raise HeroError(f"{path} is no LoRA for this model ({facts.title}): {odd}")
    return FoundLora(state, _settings(path, state, network), len(text))


def _contents(path: Path, network: str) -> tuple[dict[str, Tensor], float | None]:
    """The tensors, and the alpha that diffusers' metadata declares for the network, if it does."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            declared = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        reason = one_line(error) if path.exists() else "there is no such file"
        raise HeroError(f"cannot read the LoRA {path}: {reason}") from error
    if declared.get(f"{network}.alpha_pattern") or declared.get(f"{network}.use_rslora"):
        raise HeroError(f"{path}: every layer of this LoRA has a scale of its own; hero has one")
    alpha = declared.get(f"{network}.lora_alpha")
    return tensors, None if alpha is None else float(alpha)


def _bases(layer: str, facts: PipelineFacts, part: str) -> Iterator[str]:
    """What a layer's tensors may be called, without their ends."""
    yield f"{part}.{layer}"
    if kohya := kohya_name(layer, facts.kohya):
        yield from dict.fromkeys([kohya, f"lora_{part}_{layer.replace('.', '_')}"])


def _taken(
    rest: dict[str, Tensor], base: str, declared: float | None
) -> tuple[Tensor, Tensor] | None:
    """Take A and B of a layer out of what is left of the file, B with the file's scale in it."""
    for down, up in PAIRS:
        if f"{base}.{down}" in rest and f"{base}.{up}" in rest:
            A, B = rest.pop(f"{base}.{down}"), rest.pop(f"{base}.{up}")
            alpha = rest.pop(f"{base}.alpha", declared)
            return A, B if alpha is None else B * (float(alpha) / len(A))
    return None


def _check_shapes(path: Path, layer: str, weight: Tensor, A: Tensor, B: Tensor) -> None:
    fits = A.shape[1:] == weight.shape[1:] and B.shape[0] == weight.shape[0]
    if not fits or A.dim() != B.dim() or len(A) != B.shape[1]:
        raise HeroError(
            f"{path} is a LoRA for another model: its {layer} is {tuple(B.shape)} times "
            f"{tuple(A.shape)}, this model's {tuple(weight.shape)}"
        )


def _settings(path: Path, state: Mapping[str, Tensor], network: Any) -> LoraSettings:
    """One rank for all, and the layers' names as targets."""
    downs = {n.removesuffix(".lora_A.weight"): len(w) for n, w in state.items() if "lora_A" in n}
    ranks = sorted(set(downs.values()))
    if len(ranks) > 1:
        told = " and ".join(map(str, ranks))
        raise HeroError(f"{path}: this LoRA has ranks {told}; hero trains one rank")
    return LoraSettings(rank=ranks[0], alpha=ranks[0], targets=targets_of(downs, network))
