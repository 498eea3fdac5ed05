"""Shared by the training scripts: command line, log, learning rate, averages, checkpoints."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hero_engine.storage.atomic_files import read_tensors, write_tensors


def command_line(description: str | None, **defaults: float) -> argparse.ArgumentParser:
    """A parser with `--work` and an option for each default, of the default's type."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser


class Log:
    """Prints lines with seconds since the start, and keeps them in a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        line = f"[{time.monotonic() - self._start:7.0f} s] {text}"
        print(line, flush=True)
        print(line, file=self._file, flush=True)


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: linear warm-up, then half a cosine to 2% of `peak`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """Exponential moving average of parameters, with a short memory at first."""

    def __init__(self, parameters: list[torch.Tensor], decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, parameters: list[torch.Tensor]) -> None:
        """Update the average with the present parameters."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: list[torch.Tensor]) -> None:
        """Overwrite the parameters with the average."""
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)


class Checkpoint:
    """A file from which a training resumes as if it had not stopped."""

    def __init__(
        self, path: Path, parts: Mapping[str, Any], average: Average, random: torch.Generator
    ) -> None:
        """parts: modules and optimizers by their name in the file."""
        self._path, self._parts, self._average, self._random = path, parts, average, random

    def load(self) -> int:
        """Restore all parts if there is a file; returns the steps taken so far."""
        if not self._path.exists():
            return 0
        state = read_tensors(self._path)
        for name, part in self._parts.items():
            _restore(part, _under(name, state))
        step = int(state["step"])
        self._average.values = list(_under("average", state).values())
        self._average.count = step
        self._random.set_state(state["random"])
        return step

    def save(self, step: int) -> None:
        """Write a new file and rename it: a kill leaves no half checkpoint."""
        state = {"step": torch.tensor(step), "random": self._random.get_state()}
        for name, part in self._parts.items():
            state |= {f"{name}.{key}": value for key, value in _tensors(part).items()}
        for index, value in enumerate(self._average.values):
            state[f"average.{index:05}"] = value
        write_tensors(self._path, {name: value.clone() for name, value in state.items()})


def _under(name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of one part, sorted by name."""
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in sorted(state.items()) if k.startswith(start)}


def _tensors(part: Any) -> dict[str, torch.Tensor]:
    """State of a module or an optimizer, flat: "3.exp_avg" is of its fourth parameter."""
    state = part.state_dict()
    if not isinstance(part, torch.optim.Optimizer):
        return dict(state)
    return {f"{at}.{key}": v for at, each in state["state"].items() for key, v in each.items()}


def _restore(part: Any, state: dict[str, torch.Tensor]) -> None:
    """Restore what `_tensors` returned; an optimizer keeps its own settings."""
    if not isinstance(part, torch.optim.Optimizer):
        part.load_state_dict(state)
        return
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        at, _, key = name.partition(".")
        moments.setdefault(int(at), {})[key] = value
    part.load_state_dict({**part.state_dict(), "state": moments})
