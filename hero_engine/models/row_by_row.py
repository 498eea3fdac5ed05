"""A network that computes one row at a time, however many rows a call has.

The last resort where memory is short: a picture's two halves of classifier-free guidance, or the
two pictures of a pair, are rows of one call, and a loss needs both. Each row becomes a checkpoint
of its own, which is computed again when its gradient is. Results are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def train_row_by_row(network: Any) -> None:
    """Replace the network's forward; only calls with gradients are split."""
    network.forward = row_by_row(network.forward)


def row_by_row(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of a batch, a row at a time.

    Rows are the first axis of the first argument, or its entries where it is a list. Arguments
    with another length are the same for all rows.
    """

    @wraps(forward)
    def each(*args: Any, **kwargs: Any) -> Any:
        rows = len(args[0] if args else next(iter(kwargs.values())))
        if rows == 1 or not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return joined(
            [
                checkpoint(
                    forward,
                    *part(args, row, rows),
                    use_reentrant=False,
                    **part(kwargs, row, rows),
                )
                for row in range(rows)
            ]
        )

    return each


def part(value: Any, row: int, rows: int) -> Any:
    """A row of each tensor in a nest of arguments."""
    if isinstance(value, Tensor):
        return value[row : row + 1] if value.ndim and len(value) == rows else value
    if isinstance(value, dict):
        return {name: part(each, row, rows) for name, each in value.items()}
    if isinstance(value, list):
        return value[row : row + 1] if len(value) == rows else value
    if isinstance(value, tuple):
        return tuple(part(each, row, rows) for each in value)
    return value


def joined(outputs: list[Any]) -> Any:
    """The rows' outputs as one: tensors, lists, and a network's nests of them."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, list):
        return [each for output in outputs for each in output]
    if isinstance(first, tuple):
        return tuple(joined(list(each)) for each in zip(*outputs, strict=True))
    return type(first)(**{name: joined([each[name] for each in outputs]) for name in first})
