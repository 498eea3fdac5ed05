"""Collectives between the processes of one run, over gloo.

Every process is a rank of `count` and runs the same loop. Rank 0 also owns the run folder, the
terminal and the labels. Ranks exchange LoRA gradients, latents, pictures and small JSON values.

Why gloo, also where the models are on GPUs: what crosses is small (megabytes); gloo fails at once
when a process dies, where NCCL hangs or aborts; and a collective may stay open for hours while a
person labels, without a busy GPU. Payloads are safetensors and JSON, never pickle.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from hero_engine.core.errors import Lost, is_memory_short, one_line
from hero_engine.distributed.sharding import share

SHORTEST_PAUSE, LONGEST_PAUSE = 1e-4, 0.02
"""Seconds between two checks of an open collective: a twentieth of the time waited, within these
limits. Short waits stay short, and waiting for hours costs next to no CPU time."""

SETTLE_SECONDS = 2.0
"""After a connection breaks: how long to look for the process that ended and its exit status."""

VALUES = "values"
"""Name of the JSON values among the tensors of a payload."""


class MemoryShortElsewhere(MemoryError):  # noqa: N818 - names the state of another process
    """Another rank ran out of memory, so this rank gives up the same step."""


class Processes:
    """This process among the `count` of a run, and the collectives between them.

    With one process every method returns its input at once.

    check: called while waiting for other ranks and by `check`. It raises StopRequested when this
    process must stop, and HeroError when another one failed. Every collective may raise those two.
    """

    def __init__(
        self, rank: int = 0, count: int = 1, check: Callable[[], None] = lambda: None
    ) -> None:
        self.rank, self.count, self.check = rank, count, check

    @property
    def single(self) -> bool:
        """True if there is one process."""
        return self.count == 1

    @property
    def is_main(self) -> bool:
        """True on rank 0, which owns the run folder, the terminal and the labels."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This rank's rows (first dimension), in order. May be empty."""
        return share(rows, self.rank, self.count)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, in place. One collective for all."""
        if self.single:
            return
        self._agree()
        flat = torch.cat([each.flatten() for each in tensors]).cpu()
        self._wait(dist.all_reduce(flat, async_op=True))
        sums = torch.split(flat, [each.numel() for each in tensors])
        for each, summed in zip(tensors, sums, strict=True):
            each.copy_(summed.view_as(each))

    def all_reduce_min(self, value: int) -> int:
        """The smallest value of any rank."""
        if self.single:
            return value
        self._agree()
        return self._reduced(value, dist.ReduceOp.MIN)

    def all_gather(self, part: Tensor) -> Tensor:
        """The parts of all ranks, concatenated in the order of ranks: the inverse of `share`."""
        if self.single:
            return part
        rows = [each["rows"] for each in self.exchange({"rows": part})]
        return torch.cat(rows).to(part.device)

    def exchange(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """On every rank the tensors of every rank, in the order of ranks, on the CPU.

        Names and shapes may differ between ranks.
        """
        if self.single:
            return [dict(tensors)]
        self._agree()
        return [self._tensors_of(source, tensors) for source in range(self.count)]

    def gather(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """As `exchange`, but for rank 0 only: elsewhere an empty list."""
        if self.single:
            return [dict(tensors)]
        self._agree()
        return [unpack(data)[1] for data in self._gather_bytes(pack(None, tensors))]

    def broadcast(
        self, values: Any = None, tensors: Mapping[str, Tensor] | None = None
    ) -> tuple[Any, dict[str, Tensor]]:
        """What rank 0 passed: JSON values and tensors (on the CPU). Other ranks pass nothing."""
        if self.single:
            return values, dict(tensors or {})
        data = pack(values, tensors or {}) if self.is_main else None
        return unpack(self._broadcast_bytes(data, 0))

    def from_main(self, ask: Callable[[], Any]) -> Any:
        """What `ask` returns on rank 0, a JSON value. It is not called on other ranks."""
        if self.single:
            return ask()
        return self.broadcast(ask() if self.is_main else None)[0]

    def tensor_from_main(self, tensor: Tensor | None) -> Tensor | None:
        """Rank 0's tensor, or its None. Decisions on every rank then follow from the same bits."""
        if self.single:
            return tensor
        tensors = {} if tensor is None else {"tensor": tensor}
        return self.broadcast(None, tensors)[1].get("tensor")

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """A block that all ranks run together: if one runs out of memory, all leave it.

        The rank itself raises its own error, the others raise MemoryShortElsewhere. Collectives
        other than `broadcast` belong inside such a block wherever memory may run out.
        """
        try:
            yield
            if not self.single:
                self._agree()
        except MemoryShortElsewhere:
            raise
        except (RuntimeError, MemoryError) as error:
            if not self.single and is_memory_short(error):
                self._agree(memory_short=True)
            raise

    def _agree(self, *, memory_short: bool = False) -> None:
        """Starts every collective of a step. MemoryShortElsewhere if another rank ran out."""
        worst = self._reduced(int(memory_short), dist.ReduceOp.MAX)
        if worst and not memory_short:
            raise MemoryShortElsewhere("out of memory in another process")

    def _reduced(self, value: int, operation: Any) -> int:
        shared = torch.tensor([value])
        self._wait(dist.all_reduce(shared, operation, async_op=True))
        return int(shared)

    def _tensors_of(self, source: int, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = pack(None, own) if source == self.rank else None
        return unpack(self._broadcast_bytes(data, source))[1]

    def _gather_bytes(self, data: bytes) -> list[bytes]:
        """On rank 0 the data of every rank; elsewhere nothing.

        A gather and not sends: gloo does not say when a receive is complete.
        """
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        self._wait(dist.all_gather(lengths, torch.tensor([len(data)]), async_op=True))
        longest = max(int(length) for length in lengths)
        own = _as_tensor(data.ljust(longest, b"\0"))
        parts = [torch.empty_like(own) for _ in lengths] if self.is_main else None
        self._wait(dist.gather(own, parts, async_op=True))
        received = zip(parts or [], lengths, strict=False)
        return [part[: int(length)].numpy().tobytes() for part, length in received]

    def _broadcast_bytes(self, data: bytes | None, source: int) -> bytes:
        """The data of rank `source`, on every rank; other ranks pass None."""
        length = torch.tensor([len(data or b"")])
        self._wait(dist.broadcast(length, source, async_op=True))
        whole = torch.empty(int(length), dtype=torch.uint8) if data is None else _as_tensor(data)
        self._wait(dist.broadcast(whole, source, async_op=True))
        return whole.numpy().tobytes() if data is None else data

    def _wait(self, work: Any) -> None:
        """Wait for a collective without a time limit; `check` ends the wait when it must end."""
        begun = time.monotonic()
        while not work.is_completed():
            self.check()
            waited = time.monotonic() - begun
            time.sleep(min(max(SHORTEST_PAUSE, waited / 20), LONGEST_PAUSE))
        try:
            work.wait()
        except RuntimeError as error:
            self._name_the_cause()
            who = f"process {1 - self.rank} of 2" if self.count == 2 else "another process"
            raise Lost(
                f"{who} ended or is out of reach ({one_line(error)}); no label is lost. "
                "Resume with: hero resume"
            ) from error

    def _name_the_cause(self) -> None:
        """A connection broke: `check` raises as soon as it knows which process ended, and why."""
        give_up = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < give_up:
            self.check()
            time.sleep(LONGEST_PAUSE)


SINGLE = Processes()
"""The one process of a run that is not shared."""


def pack(values: Any, tensors: Mapping[str, Tensor]) -> bytes:
    """JSON values and tensors as one safetensors payload."""
    from safetensors.torch import save

    encoded = torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)
    plain = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
    data: bytes = save({**plain, VALUES: encoded})
    return data


def unpack(data: bytes) -> tuple[Any, dict[str, Tensor]]:
    """What `pack` encoded."""
    from safetensors.torch import load

    tensors: dict[str, Tensor] = load(data)
    return json.loads(bytes(tensors.pop(VALUES).numpy())), tensors


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under "prefix/name", so that one payload carries several groups."""
    return {f"{prefix}/{name}": each for name, each in tensors.items()}


def group_of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `prefixed` put under this prefix, by their own names."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)
    }


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
