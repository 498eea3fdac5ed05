"""What the training scripts share: a log, checkpoints, a learning-rate schedule."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch


class Log:
    """Lines with seconds since the start, on the screen and in a file that is kept."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        line = f"[{time.monotonic() - self._start:7.0f} s] {text}"
        print(line, flush=True)
        print(line, file=self._file, flush=True)


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: linear warm-up, then half a cosine down to 2% of ``peak``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside and rename, so that a kill never leaves half a checkpoint."""
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


class Average:
    """Exponential moving average of parameters, with a short memory at first."""

    def __init__(self, parameters: list[torch.Tensor], decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, parameters: list[torch.Tensor]) -> None:
        """Fold the present parameters in."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: list[torch.Tensor]) -> None:
        """Overwrite ``parameters`` with the average."""
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)
