"""The processes that share a run's computing: which one this is, and how they speak.

Rank 0 is the run's own process: it alone has the folder, the journal, the labels and the screen.
The others follow (`follower.py`, started by `crew.py`): they wait for an order, do their share of
it, and remember nothing until the next, so nothing on the disk depends on how many they are.

They speak by gloo, in the group that accelerate opens, also where the models are on GPUs. What
crosses is small (gradients of LoRA weights, latents); gloo says so when a process has died, where
NCCL hangs or aborts; and it waits for hours, while a person labels, without a GPU at work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from hero_engine.core.errors import Lost, is_memory_short, one_line

SHORTEST_PAUSE, LONGEST_PAUSE = 1e-4, 0.02
"""Seconds between two looks at whether others are done; in between, a part of the wait so far."""

SETTLED = 2.0
"""Seconds in which a process that broke off its connection is found to have ended."""

SAID = "said"


class ShortElsewhere(MemoryError):  # noqa: N818 - of whom it is said
    """Another process is out of memory, so this one drops its share as well."""


@dataclass(frozen=True)
class Message:
    """What crosses: JSON values and tensors, as safetensors; nothing is unpickled."""

    said: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        from safetensors.torch import save

        said = torch.tensor(list(json.dumps(self.said).encode()), dtype=torch.uint8)
        plain = {name: each.detach().cpu().contiguous() for name, each in self.tensors.items()}
        data: bytes = save({SAID: said, **plain})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Message:
        """What `to_bytes` wrote."""
        from safetensors.torch import load

        tensors: dict[str, Tensor] = load(data)
        said = json.loads(bytes(tensors.pop(SAID).tolist()))
        return cls(said, tensors)

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors that `named` put under a name."""
        cut = len(name) + 1
        return {key[cut:]: each for key, each in self.tensors.items() if key.startswith(f"{name}/")}


def named(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under a common name, for a message with several such parts."""
    return {f"{name}/{key}": each for key, each in tensors.items()}


class Ranks:
    """This process among `count`. With one, nothing crosses, and all of it costs nothing.

    look: called while waiting for the others; raises StopRequested where the run should stop, or
    HeroError where a process has ended. Every method that speaks may raise those.
    """

    def __init__(
        self, rank: int = 0, count: int = 1, look: Callable[[], None] = lambda: None
    ) -> None:
        self.rank, self.count, self._look = rank, count, look
        self._unanswered = False

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of the rows (the first dimension), in order; it may be empty."""
        return rows.tensor_split(self.count)[self.rank]

    def all_gather(self, part: Tensor) -> Tensor:
        """All processes' parts, one after the other: what `share` had taken apart."""
        if self.alone:
            return part
        self._agree()
        parts = [self._handed_round(part, source) for source in range(self.count)]
        return torch.cat(parts).to(part.device)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place."""
        if self.alone:
            return
        self._agree()
        whole = torch.cat([each.flatten() for each in tensors]).cpu()
        self._wait_for(dist.all_reduce(whole, async_op=True))
        sums = torch.split(whole, [each.numel() for each in tensors])
        for each, summed in zip(tensors, sums, strict=True):
            each.copy_(summed.view_as(each))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What all processes do in step: where memory is short for one, all drop it.

        `all_gather` and `all_reduce` belong into such a block. ShortElsewhere where another one was
        short.
        """
        try:
            yield
            if not self.alone:
                self._agree()
        except ShortElsewhere:
            raise
        except (RuntimeError, MemoryError) as error:
            if not self.alone and is_memory_short(error):
                self._agree(short=True)
            raise

    def order(self, message: Message, *, answered: bool = False) -> None:
        """From rank 0: all others do this. Answers that nobody waited for are dropped first."""
        if self._unanswered:
            self.answers()
        self._broadcast(message.to_bytes(), 0)
        self._unanswered = answered

    def answers(self) -> list[Message]:
        """To rank 0: what the others give back, by rank."""
        found = [Message.from_bytes(data) for data in self._gathered(b"")[1:]]
        self._unanswered = False
        return found

    def awaited_order(self) -> Message:
        """From rank 0, whenever it comes."""
        return Message.from_bytes(self._broadcast(None, 0))

    def answer(self, message: Message) -> None:
        """To rank 0, which has asked all others as well."""
        self._gathered(message.to_bytes())

    def _gathered(self, data: bytes) -> list[bytes]:
        """On rank 0 everybody's data, by rank; nothing on the others.

        Not by sending and receiving, for which gloo cannot say whether they are done.
        """
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        self._wait_for(dist.all_gather(lengths, torch.tensor([len(data)]), async_op=True))
        longest = max(int(length) for length in lengths)
        own = _as_tensor(data.ljust(longest, b"\0"))
        parts = [torch.empty_like(own) for _ in lengths] if self.rank == 0 else None
        self._wait_for(dist.gather(own, parts, async_op=True))
        found = zip(parts or [], lengths, strict=False)
        return [part[: int(length)].numpy().tobytes() for part, length in found]

    def _handed_round(self, part: Tensor, source: int) -> Tensor:
        data = Message({}, {"part": part}).to_bytes() if source == self.rank else None
        return Message.from_bytes(self._broadcast(data, source)).tensors["part"]

    def _broadcast(self, data: bytes | None, source: int) -> bytes:
        """The source's data, in all processes; None where it is another's."""
        length = torch.tensor([len(data or b"")])
        self._wait_for(dist.broadcast(length, source, async_op=True))
        whole = torch.empty(int(length), dtype=torch.uint8) if data is None else _as_tensor(data)
        self._wait_for(dist.broadcast(whole, source, async_op=True))
        return data or whole.numpy().tobytes()

    def _agree(self, *, short: bool = False) -> None:
        """Every exchange begins so; ShortElsewhere where one has come without memory for it."""
        worst = torch.tensor([int(short)])
        self._wait_for(dist.all_reduce(worst, dist.ReduceOp.MAX, async_op=True))
        if worst.item() and not short:
            raise ShortElsewhere("out of memory in another process")

    def _wait_for(self, work: Any) -> None:
        begun = time.monotonic()
        while not work.is_completed():
            self._look()
            waited = time.monotonic() - begun
            time.sleep(min(max(SHORTEST_PAUSE, waited / 20), LONGEST_PAUSE))
        try:
            work.wait()
        except RuntimeError as error:
            self._settle()
            raise Lost(f"the connection to another process broke: {one_line(error)}") from error

    def _settle(self) -> None:
        """A connection broke: give `look` the time to find out why."""
        give_up = time.monotonic() + SETTLED
        while time.monotonic() < give_up:
            self._look()
            time.sleep(LONGEST_PAUSE)


ALONE = Ranks()


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
