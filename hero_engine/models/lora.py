"""LoRA weights in a network: which layers get them, how they begin."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError
from hero_engine.core.rng import seed_number
from hero_engine.models.quiet_libraries import quiet

TARGET_GROUPS = {
    "conv": ("conv1", "conv2"),
    "ff": ("ff.net.0.proj", "ff.net.2"),
    "time": ("time_emb_proj",),
    "text": ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
}


def attach_lora(network: Any, lora: LoraSettings, seed: int) -> None:
    """Add float32 LoRA weights to a frozen network: A ~ N(0, 1/rank), B = 0: nothing changes yet.

    Targets match the end of module names; "conv" stands for the residual blocks' convolutions,
    "ff" for the feed-forward layers, "time" for the time embedding's projections, "text" for the
    text's side of a transformer's joint attention. `lora.block` keeps to one part of the network.
    HeroError, 2, if a target names no layer there.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        init_lora_weights="gaussian",
        target_modules=sorted(_target_modules(network, lora)),
    )
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed_number(seed, "init", 0, 0))
        if hasattr(network, "add_adapter"):
            network.add_adapter(config)
        else:
            inject_adapter_in_model(config, network)
    for weight_name, weight in network.named_parameters():
        if ".lora_" in weight_name:
            weight.data = weight.data.float()
    network.eval()


@torch.no_grad()
def merge_lora(network: Any, state: Mapping[str, Tensor], lora: LoraSettings) -> None:
    """Add (alpha / rank) B A to the weights of a float32 network; state: as `Model.lora_state`."""
    scale = lora.alpha / lora.rank
    for name, A in state.items():
        if not name.endswith(".lora_A.weight"):
            continue
        layer = name.removesuffix(".lora_A.weight")
        weight, B = network.get_submodule(layer).weight, state[f"{layer}.lora_B.weight"]
        weight += scale * (B.flatten(1) @ A.flatten(1)).view_as(weight)


def lora_layers(network: Any) -> Iterator[Any]:
    """peft's layers with LoRA weights, each around one of the network's own."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return (layer for layer in network.modules() if isinstance(layer, BaseTunerLayer))


def layer_names(network: Any) -> list[str]:
    """The layers that can have LoRA weights."""
    return [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and ".lora_" not in name
    ]


def _target_modules(network: Any, lora: LoraSettings) -> set[str]:
    """Full names, so that peft can take no layer for one that only ends alike."""
    layers = [name for name in layer_names(network) if lora.block in name]
    found: set[str] = set()
    for target in lora.targets:
        suffixes = TARGET_GROUPS.get(target, (target,))
        named = {layer for layer in layers if any(_ends(layer, suffix) for suffix in suffixes)}
        if not named:
            where = f" within {lora.block!r}" if lora.block else ""
            raise HeroError(
                f"lora.targets: {target!r} names no layer of this model's network{where}"
            )
        found |= named
    return found


def targets_of(layers: Collection[str], network: Any) -> tuple[str, ...]:
    """The shortest ends of names that select these layers of the network, and no other."""
    others = set(layer_names(network)) - set(layers)
    targets: list[str] = []
    for layer in layers:
        if any(_ends(layer, target) for target in targets):
            continue
        parts = layer.split(".")
        tails = (".".join(parts[at:]) for at in range(len(parts) - 1, -1, -1))
        words = (tail for tail in tails if not tail[0].isdecimal() and tail not in TARGET_GROUPS)
        targets.append(next(t for t in words if not any(_ends(other, t) for other in others)))
    return tuple(targets)


def _ends(layer: str, suffix: str) -> bool:
    return layer == suffix or layer.endswith(f".{suffix}")
