"""The old policy that the forward update compares the new one with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from torch import Tensor, nn

from hero_engine.models.pipeline import Model

Reference = Callable[[], AbstractContextManager[None]]
"""Makes the model predict as the reference does, for as long as the block lasts."""


def frozen_base(model: Model) -> Reference:
    """The base model, without LoRA."""
    return model.base


def current_policy(model: Model) -> Reference:
    """The model with the LoRA weights it has at the time of this call."""
    weights = model.lora_parameters()
    start = [weight.detach().clone() for weight in weights]
    return lambda: with_weights(weights, start)


@contextmanager
def with_weights(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Other values in these weights, for as long as the block lasts."""
    own = [weight.data for weight in weights]
    for weight, value in zip(weights, values, strict=True):
        weight.data = value
    try:
        yield
    finally:
        for weight, data in zip(weights, own, strict=True):
            weight.data = data
