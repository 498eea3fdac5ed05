"""LoRA files: the layouts of diffusers and of kohya's scripts (A1111, ComfyUI), out and in.

A pair's effect is (alpha / rank) B A. diffusers' file: `unet.LAYER.lora_A.weight`, the scale in B.
kohya's: `lora_unet_LAYER.lora_down.weight`, `.lora_up.weight` and `.alpha`, with names as
`lora_names` gives them (after kohya-ss/sd-scripts, networks/lora.py and lora_diffusers.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError, one_line
from hero_engine.models.lora import layer_names, targets_of
from hero_engine.models.lora_names import kohya_name
from hero_engine.models.pipeline_facts import PipelineFacts
from hero_engine.models.quiet_libraries import quiet

PAIRS = (
    ("lora_A.weight", "lora_B.weight"),
    ("lora_down.weight", "lora_up.weight"),
    ("lora.down.weight", "lora.up.weight"),
    ("down.weight", "up.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
)
TEXT_ENCODERS = ("text_encoder", "lora_te")
OTHER_KINDS = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_w1_a": "LoHa",
    "lokr_w1": "LoKr",
    "lokr_w1_a": "LoKr",
    "lora_mid.weight": "LoCon with a middle convolution",
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "on_input": "IA3",
}
"""Ends of keys that tell files of other methods, which hero does not train."""


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
    """A LoRA file in any layout, for this network (its weights are not looked at).

    part: what the pipeline calls the network. HeroError, exit code 2, where it cannot be read, does
    not fit, has NaN, or is of another method.
    """
    tensors, scales = _contents(path, part)
    text = {name for name in tensors if name.startswith(TEXT_ENCODERS)}
    rest = {name: tensor.float() for name, tensor in tensors.items() if name not in text}
    _check_kind(path, rest)
    state = _matched(path, dict(rest), scales, facts, part, network)
    if state is None:
        converted = _converted(rest, facts)
        state = _matched(path, converted, Scales(), facts, part, network) if converted else None
    if state is None:
        odd = _odd(rest, facts, part, network)
        raise HeroError(f"{path} is no LoRA for this model ({facts.title}): {odd}")
    return FoundLora(_one_rank(state), _settings(state, network), len(text))


@dataclass(frozen=True)
class Scales:
    """The alphas that diffusers' metadata declares: for all layers, and for some by name."""

    alpha: float | None = None
    pattern: Mapping[str, float] = field(default_factory=dict)
    rslora: bool = False

    def factor(self, layer: str, rank: int) -> float:
        """What a layer's product is multiplied by."""
        ends = (alpha for end, alpha in self.pattern.items() if f".{layer}".endswith(f".{end}"))
        alpha = next(ends, self.alpha)
        if alpha is None:
            return 1.0
        return alpha / (rank**0.5 if self.rslora else rank)


def _contents(path: Path, part: str) -> tuple[dict[str, Tensor], Scales]:
    """The tensors, and the scales that the metadata declares for the network."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            declared = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        reason = one_line(error) if path.exists() else "there is no such file"
        raise HeroError(f"cannot read the LoRA {path}: {reason}") from error
    alpha = declared.get(f"{part}.lora_alpha")
    pattern = declared.get(f"{part}.alpha_pattern") or {}
    return tensors, Scales(
        None if alpha is None else float(alpha),
        {str(name): float(each) for name, each in pattern.items()},
        bool(declared.get(f"{part}.use_rslora")),
    )


def _check_kind(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        for end, kind in OTHER_KINDS.items():
            if name.endswith(end):
                raise HeroError(f"{path} is a {kind} file ({name}); hero trains plain LoRA")
        if not bool(tensor.isfinite().all()):
            raise HeroError(f"{path} has NaN or infinity in {name}")


def _matched(
    path: Path,
    rest: dict[str, Tensor],
    scales: Scales,
    facts: PipelineFacts,
    part: str,
    network: Any,
) -> dict[str, Tensor] | None:
    """Every tensor under the network's own names, scales in B; None where one is left over."""
    layers, state = dict(network.named_modules()), dict[str, Tensor]()
    for layer in layer_names(network):
        for base in _bases(layer, facts, part):
            if pair := _taken(rest, base, layer, scales):
                _check_shapes(path, layer, layers[layer].weight, *pair)
                state[f"{layer}.lora_A.weight"], state[f"{layer}.lora_B.weight"] = pair
    return state if state and not rest else None


def _bases(layer: str, facts: PipelineFacts, part: str) -> Iterator[str]:
    """What a layer's tensors may be called, without their ends.

    diffusers' names, peft's, kohya's, and those of attention processors: "attn1.to_out.0" is
    "attn1.processor.to_out_lora" there.
    """
    own = (layer, f"base_model.model.{layer}")
    yield from (f"{part}.{layer}", *own, *(f"{part}.{each}" for each in own[1:]))
    if kohya := kohya_name(layer, facts.kohya):
        yield kohya
    for start in dict.fromkeys((f"lora_{part}_", "lora_unet_", "lora_transformer_")):
        yield start + layer.replace(".", "_")
    block, _, last = layer.removesuffix(".0").rpartition(".")
    for start in ("", f"{part}."):
        yield f"{start}{block}.processor.{last}_lora"


def _taken(
    rest: dict[str, Tensor], base: str, layer: str, scales: Scales
) -> tuple[Tensor, Tensor] | None:
    """Take A and B of a layer out of what is left of the file, B with the file's scale in it."""
    for down, up in PAIRS:
        if f"{base}.{down}" in rest and f"{base}.{up}" in rest:
            A, B = rest.pop(f"{base}.{down}"), rest.pop(f"{base}.{up}")
            alpha = rest.pop(f"{base}.alpha", None)
            factor = scales.factor(layer, len(A)) if alpha is None else float(alpha) / len(A)
            return A, B if factor == 1 else B * factor
    return None


def _converted(tensors: Mapping[str, Tensor], facts: PipelineFacts) -> dict[str, Tensor]:
    """The file as diffusers' own conversion of other programs' names has it; empty without one."""
    with quiet():
        import diffusers

        pipeline = getattr(diffusers, facts.pipeline, None)
        convert = getattr(pipeline, "lora_state_dict", None)
        if convert is None:
            return {}
        try:
            made = convert(dict(tensors))
        except Exception:  # any error of a converter: it does not know these names
            return {}
    return dict(made[0] if isinstance(made, tuple) else made)


def _odd(rest: Mapping[str, Tensor], facts: PipelineFacts, part: str, network: Any) -> str:
    """A key that no layer has, for a message."""
    bases = {base for layer in layer_names(network) for base in _bases(layer, facts, part)}
    odd = sorted(name for name in rest if not any(name.startswith(f"{b}.") for b in bases))
    return f"it has {odd[0]}" if odd and len(odd) < len(rest) else "it has none of its layers"


def _check_shapes(path: Path, layer: str, weight: Tensor, A: Tensor, B: Tensor) -> None:
    fits = A.shape[1:] == weight.shape[1:] and B.shape[0] == weight.shape[0]
    if not fits or A.dim() != B.dim() or len(A) != B.shape[1]:
        raise HeroError(
            f"{path} is a LoRA for another model: its {layer} is {tuple(B.shape)} times "
            f"{tuple(A.shape)}, this model's {tuple(weight.shape)}"
        )


def _one_rank(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All layers at the largest rank: more rows of A, small and random, times columns of 0 in B."""
    rank, random = _rank(state), torch.Generator().manual_seed(0)
    return {name: _widened(name, weight, rank, random) for name, weight in state.items()}


def _widened(name: str, weight: Tensor, rank: int, random: torch.Generator) -> Tensor:
    if "lora_A" in name:
        more = torch.randn(rank - len(weight), *weight.shape[1:], generator=random) / rank
        return torch.cat([weight, more]).contiguous()
    none = weight.new_zeros(len(weight), rank - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, none], 1).contiguous()


def _rank(state: Mapping[str, Tensor]) -> int:
    return max(len(weight) for name, weight in state.items() if "lora_A" in name)


def _settings(state: Mapping[str, Tensor], network: Any) -> LoraSettings:
    """The largest rank for all, and the layers' names as targets."""
    layers = [n.removesuffix(".lora_A.weight") for n in state if n.endswith(".lora_A.weight")]
    rank = _rank(state)
    return LoraSettings(rank=rank, alpha=rank, targets=targets_of(layers, network))
