"""A forward pass in float32 of a network that is kept in bf16 or fp16.

Each layer's weights become float32 while the layer computes, so that the pass needs memory for one
layer more. What lies between layers (attention, sums, activations) follows its inputs' precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)


@contextmanager
def computing_in_float32(network: nn.Module) -> Iterator[None]:
    """Every layer of the network in float32, as long as the block lasts; no gradients.

    The weights of quantised layers are those that their numbers stand for.
    """
    handles = []
    for layer in network.modules():
        if next(layer.children(), None) is None:
            cast = _Cast()
            handles.append(layer.register_forward_pre_hook(cast.before, with_kwargs=True))
            handles.append(layer.register_forward_hook(cast.after, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Cast:
    """The hooks of one layer."""

    def __init__(self) -> None:
        self._own: list[tuple[Tensor, Tensor]] = []
        self._quantised: Any = None

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Make the layer and its inputs float32."""
        if is_quantised(layer):
            self._restore_numbers(layer)
        for weight in (*layer.parameters(False), *layer.buffers(False)):
            if weight.dtype in HALF:
                self._own.append((weight, weight.data))
                weight.data = weight.data.float()
        return in_float32(args), {name: in_float32(each) for name, each in kwargs.items()}

    def _restore_numbers(self, layer: Any) -> None:
        """Either the layer computes in float32, or its weights become plain ones."""
        if hasattr(layer, "compute_dtype"):  # bitsandbytes and GGUF
            self._quantised = ("compute_dtype", layer.compute_dtype)
            layer.compute_dtype = torch.float32
        else:
            self._quantised = ("weight", layer.weight)
            plain = layer.weight.dequantize().float()
            layer.weight = nn.Parameter(plain, requires_grad=False)

    def after(self, layer: nn.Module, args: Any, output: Any) -> Any:
        """Put back what the layer had."""
        if self._quantised is not None:
            setattr(layer, *self._quantised)
            self._quantised = None
        for weight, data in self._own:
            weight.data = data
        self._own.clear()
        return in_float32(output)


def is_quantised(layer: nn.Module) -> bool:
    """Whether a layer's weight is other than a plain tensor of floats."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        return False
    plain = type(weight) in (Tensor, nn.Parameter) and type(weight.data) is Tensor
    return not (plain and weight.is_floating_point())


def in_float32(value: Any) -> Any:
    """A tensor of bf16 or fp16, or a nest of them, in float32; all else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in HALF else value
    if isinstance(value, tuple | list):
        return type(value)(in_float32(each) for each in value)
    return value
