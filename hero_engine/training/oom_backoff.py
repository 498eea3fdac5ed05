"""Memory backoff: halve the microbatch each time the device runs out of memory.

The step is repeated from its start, and the size that fits is kept in the journal, so that a
resumed run computes with the same microbatches as the interrupted one: bit for bit the same.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from hero_engine.core.errors import ExitCode, HeroError, is_memory_short
from hero_engine.core.events import Notice
from hero_engine.training.progress_reports import Emit

Result = TypeVar("Result")


class Limits(Protocol):
    """Keeps the largest microbatch of each step; the journal does."""

    def limits(self) -> dict[str, int]:
        """All known limits."""
        ...

    def limit(self, step: str, at_once: int) -> None:
        """Store a limit."""
        ...


class OomBackoff:
    """The largest microbatch that each step of a round ("sample", "update") may have."""

    def __init__(self, kept: Limits, emit: Emit) -> None:
        self._kept, self._emit = kept, emit
        self._limits = kept.limits()

    def size(self, step: str, wanted: int) -> int:
        """The wanted microbatch, or the largest that fits in memory."""
        return min(wanted, self._limits.get(step, wanted))

    def has_limit(self, step: str) -> bool:
        """Whether the step's largest microbatch is known."""
        return step in self._limits

    def begin(self, step: str, microbatch: int, why: str) -> None:
        """Set the first limit, which was measured; `why` is emitted as a notice, if not empty."""
        self._kept.limit(step, microbatch)
        self._limits[step] = microbatch
        if why:
            self._emit(Notice(why))

    def run(
        self,
        step: str,
        wanted: int,
        attempt: Callable[[int], Result],
        save_memory: Callable[[], str] = lambda: "",
    ) -> Result:
        """What `attempt(microbatch)` returns, with the largest microbatch that fits.

        A failed attempt must leave everything as it was. save_memory: called where not even one row
        fits; it may make each need less, and returns what it did, if anything. HeroError, exit
        code 3, where one row does not fit then.
        """
        microbatch = self.size(step, wanted)
        while True:
            try:
                return attempt(microbatch)
            except (RuntimeError, MemoryError) as error:
                if not is_memory_short(error):
                    raise
            # Out here the error is gone, and with it the tensors of the frames that it came from.
            if microbatch == 1 and (done := save_memory()):
                microbatch = self._restarted(step, wanted, done)
            else:
                microbatch = self._halved(step, microbatch)

    def _restarted(self, step: str, wanted: int, done: str) -> int:
        self._limits.pop(step, None)
        self._emit(
            Notice(
                f"out of memory in the step {step!r}: {done} from here, with a microbatch of "
                f"{wanted}"
            )
        )
        return wanted

    def _halved(self, step: str, microbatch: int) -> int:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if microbatch == 1:
            raise HeroError(
                f"the device's memory does not hold one {'row' if step == 'update' else 'picture'} "
                f"in the step {step!r}; try --quantise nf4, --offload, or a smaller sampler.width",
                exit_code=ExitCode.ENVIRONMENT,
            )
        half = microbatch // 2
        self._kept.limit(step, half)
        self._limits[step] = half
        self._emit(
            Notice(
                f"out of memory in the step {step!r}: the microbatch is {half} from here, not "
                f"{microbatch}"
            )
        )
        return half
