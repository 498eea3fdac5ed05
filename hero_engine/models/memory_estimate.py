"""What a network keeps for its backward pass, by arithmetic: without weights, on no device.

A forward pass on torch's meta device computes shapes only; autograd still says which tensors it
would keep for the backward pass. What an allocator wastes and a kernel needs in passing is not
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


@dataclass(frozen=True)
class Kept:
    """Bytes that a network keeps between its forward and its backward pass.

    plain: as it is. inputs: what goes into its checkpointed blocks. outside: kept outside of
    them. largest: kept inside the block that keeps most. weights: of the block with most, a number.
    """

    plain: int
    inputs: int
    outside: int
    largest: int
    weights: int = 0

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
    blocks, weights = list[int](), [0]

    def block(module: Callable[..., Any], *arguments: Any) -> Any:
        for each in arguments:
            if isinstance(each, Tensor):
                inputs.add(each)
        if isinstance(module, nn.Module):
            weights.append(sum(weight.numel() for weight in module.parameters()))
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
    outside = count.total - sum(blocks)
    return Kept(count.total, inputs.total, outside, max(blocks, default=0), max(weights))


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
        apply: Any = _Attention.apply  # untyped in torch before 2.14
        output: Tensor = apply(query, key, value)
        return output

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", attend):
        yield
