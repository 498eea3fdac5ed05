"""What the tests of a run's folder share: a run about cups, power cuts, tensors of every kind."""

from typing import Any

import torch

from hero_engine.config.presets import embedded
from hero_engine.config.tasks import Task

TASK = Task("cup", "a cup", "Cup", "it is full", 30, 6, ("a mug",), None, {"batch": 8})
SETTINGS = embedded(task="cup", prompt="a cup", batch=6, labels=30, checkpoints=2)


class PowerCut(Exception):  # noqa: N818 - not an error of anybody's
    """The machine is off."""


def cut(*_: Any, **__: Any) -> None:
    """Stands in for a system call that the machine did not live to see."""
    raise PowerCut


TENSORS = {
    "fp32": torch.tensor([[0.1, -0.0], [float("nan"), float("inf")]]),
    "fp16": torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0)).half(),
    "bf16": torch.tensor(1 / 3).bfloat16(),
    "fp64": torch.tensor([1 / 3], dtype=torch.float64),
    "int64": torch.tensor([2**62, -1]),
    "bool": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "strided": torch.arange(6.0)[::2],
    "trained": torch.ones(2, requires_grad=True),
}


def same_bits(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    """Names, types, shapes and every bit."""
    return got.keys() == want.keys() and all(
        (got[k].dtype, got[k].shape) == (v.dtype, v.shape)
        and got[k].numpy(force=True).tobytes() == v.numpy(force=True).tobytes()
        if v.dtype != torch.bfloat16
        else torch.equal(got[k].view(torch.int16), v.view(torch.int16))
        for k, v in want.items()
    )
