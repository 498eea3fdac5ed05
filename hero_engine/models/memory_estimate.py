"""How much memory training takes, by arithmetic: a network without weights, on no device.

    python -m hero_engine.models.memory_estimate        # the table of docs/memory.md

A forward pass on torch's meta device computes shapes only; autograd still says which tensors it
would keep for the backward pass. What is counted is what stays at the peak: weights, kept tensors,
gradients and optimizer. What an allocator wastes and a kernel needs in passing is not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from hero_engine.config.settings import LoraSettings, Settings
from hero_engine.models.lora import attach_lora
from hero_engine.models.quiet_libraries import quiet

GIGA = 1e9
ADAM = 4
"""Float32 numbers for each trained weight: itself, its gradient, two moments."""

SD_15: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
UNETS: dict[str, dict[str, Any]] = {"SD 1.5, 512 px": SD_15, "SDXL, 1024 px": SDXL}
"""The published configurations."""


@dataclass(frozen=True)
class Kept:
    """Bytes that a network keeps between its forward and its backward pass.

    plain: as it is. inputs: what goes into its checkpointed blocks. outside: kept outside of
    them. largest: kept inside the block that keeps most.
    """

    plain: int
    inputs: int
    outside: int
    largest: int

    @property
    def checkpointed(self) -> int:
        """With gradient checkpointing: one block at a time is computed again."""
        return self.inputs + self.outside + self.largest


class Count:
    """Adds up storages, each once; the network's own weights count nothing."""

    def __init__(self, weights: Iterator[Tensor]) -> None:
        self._seen = {each.untyped_storage()._cdata for each in weights}
        self._alive: list[Tensor] = []
        self.total = 0

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor, unless its storage was counted before."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)  # or its place would be taken by another
            self.total += storage.nbytes()
        return tensor


def kept_for_backward(network: Any, call: Callable[[], Tensor]) -> Kept:
    """What autograd keeps when `call` runs the network once; on the meta device, or a real one."""
    count, inputs = Count(network.parameters()), Count(network.parameters())
    blocks: list[int] = []

    def block(module: Callable[..., Any], *arguments: Any) -> Any:
        for each in arguments:
            if isinstance(each, Tensor):
                inputs.add(each)
        before = count.total
        output = module(*arguments)
        blocks.append(count.total - before)
        return output

    network.enable_gradient_checkpointing(block)
    try:
        with saved_tensors_hooks(count.add, lambda tensor: tensor), _flash_attention():
            call()
    finally:
        network.disable_gradient_checkpointing()
    return Kept(count.total, inputs.total, count.total - sum(blocks), max(blocks, default=0))


class _Attention(torch.autograd.Function):
    """Keeps what flash attention keeps: queries, keys, values, output, a number for each query."""

    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        context.save_for_backward(query, key, value, output, sums)
        return output


@contextmanager
def _flash_attention() -> Iterator[None]:
    """On a GPU attention keeps no matrix of queries by keys; what the CPU does is no guide."""

    def attend(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        output: Tensor = _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]
        return output

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", attend):
        yield


def unet_and_call(
    configuration: Mapping[str, Any], rows: int, lora: LoraSettings
) -> tuple[nn.Module, Callable[[], Tensor]]:
    """A UNet in bf16 with float32 LoRA on the meta device, and its call on `rows` rows."""
    with quiet(), torch.device("meta"):
        from diffusers import UNet2DConditionModel

        unet = UNet2DConditionModel(**configuration).to(torch.bfloat16).requires_grad_(False)
        attach_lora(unet, lora, 0)
        size, width = configuration["sample_size"], configuration["cross_attention_dim"]
        x = torch.empty(rows, 4, size, size, dtype=torch.bfloat16)
        text = torch.empty(rows, 77, width, dtype=torch.bfloat16)
        added = {
            "text_embeds": torch.empty(rows, 1280, dtype=torch.bfloat16),
            "time_ids": torch.empty(rows, 6, dtype=torch.bfloat16),
        }
        timesteps = torch.empty(rows)
    return unet, lambda: unet(x, timesteps, text, added_cond_kwargs=added).sample


def table(settings: Settings) -> Iterator[str]:
    """Markdown: gigabytes of the UNet's training by model and minibatch, guidance included."""
    yield "| model | minibatch (rows) | UNet | LoRA, Adam | kept | with checkpointing | sum | sum |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, configuration in UNETS.items():
        for minibatch in (1, settings.ddpo.microbatch):
            rows = (
                minibatch
                * settings.ddpo.steps_per_image
                * (2 if settings.sampler.guidance > 1 else 1)
            )
            unet, call = unet_and_call(configuration, rows, settings.lora)
            trained = [weight for weight in unet.parameters() if weight.requires_grad]
            frozen = [weight for weight in unet.parameters() if not weight.requires_grad]
            weights = sum(weight.nbytes for weight in frozen)
            state = ADAM * sum(weight.nbytes for weight in trained)
            kept = kept_for_backward(unet, call)
            cells = [weights, state, kept.plain, kept.checkpointed]
            sums = [weights + state + kept.plain, weights + state + kept.checkpointed]
            numbers = " | ".join(f"{cell / GIGA:.2f}" for cell in [*cells, *sums])
            yield f"| {name} | {minibatch} ({rows}) | {numbers} |"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for line in table(Settings()):
        print(line, flush=True)
