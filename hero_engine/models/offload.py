"""A network whose weights wait on the CPU and visit the GPU layer by layer, by diffusers' hooks.

A layer's weights are copied to the GPU before it computes and dropped after. Training needs them
again in the backward pass: with gradient checkpointing a block is computed once more then, and
autograd keeps its layers' copies until the block's gradients are there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn

from hero_engine.core.errors import ExitCode, HeroError


def offload(network: Any, device: torch.device) -> None:
    """Offload the network's layers, before LoRA weights are attached, which stay on the device.

    HeroError, exit code 3, if diffusers cannot.
    """
    for layer in network.modules():
        if layer._parameters:
            layer.forward = with_copies(layer)
    try:
        network.enable_group_offload(onload_device=device, offload_type="leaf_level")
    except (ValueError, AttributeError) as error:
        raise HeroError(
            f"--offload does not work with {type(network).__name__}: {error}",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error


def with_copies(layer: nn.Module) -> Callable[..., Any]:
    """The layer's forward with its weights as they are at the call.

    Autograd keeps what it is given. A parameter would be back on the CPU when the backward pass
    asks for it; a tensor that shares its memory stays.
    """
    forward = layer.forward

    @wraps(forward)
    def computed(*args: Any, **kwargs: Any) -> Any:
        own = dict(layer._parameters)
        for name, weight in own.items():
            if weight is not None:
                layer._parameters[name] = weight.detach()  # type: ignore[assignment]
        try:
            return forward(*args, **kwargs)
        finally:
            layer._parameters.update(own)

    return computed
