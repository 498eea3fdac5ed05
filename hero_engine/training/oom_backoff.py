"""Where the device's memory does not hold a minibatch: half of it, and half of that. Where it
holds more (`room.py`): that many.

What was begun is done again from its start with smaller pieces, and the size is in the journal. So
a run that is resumed goes on with the pieces of the run that was interrupted, bit for bit.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from hero_engine.core.errors import ExitCode, HeroError, is_memory_short
from hero_engine.core.events import Notice
from hero_engine.storage.journal import Journal
from hero_engine.training.progress_reports import Deliver

Result = TypeVar("Result")


class Limits:
    """How many pictures each step of a round ("sample", "update") may take at once."""

    def __init__(self, journal: Journal, tell: Deliver) -> None:
        self._journal, self._tell = journal, tell
        self._known = journal.limits()

    def of(self, step: str, wanted: int) -> int:
        """As many as wanted, or as many as memory holds."""
        return min(wanted, self._known.get(step, wanted))

    def knows(self, step: str) -> bool:
        """Whether there is a limit."""
        return step in self._known

    def begin(self, step: str, at_once: int, why: str) -> None:
        """The first limit, found before there was a shortage; `why` is told, if not empty."""
        self._journal.limit(step, at_once)
        self._known[step] = at_once
        if why:
            self._tell(Notice(why))

    def halving(
        self,
        step: str,
        wanted: int,
        attempt: Callable[[int], Result],
        spare: Callable[[], bool] = lambda: False,
    ) -> Result:
        """What `attempt(pictures at once)` returns, as soon as memory suffices for it.

        spare: is called where it does not hold one picture, and may make each need less. A failed
        attempt must leave everything as it was. HeroError, exit code 3, where memory does not even
        hold one picture then.
        """
        at_once = self.of(step, wanted)
        while True:
            try:
                return attempt(at_once)
            except (RuntimeError, MemoryError) as error:
                if not is_memory_short(error):
                    raise
            # Out here the error is gone, and with it the tensors of the frames that it came from.
            if at_once == 1 and spare():
                at_once = self._again(step, wanted)
            else:
                at_once = self._halved(step, at_once)

    def _again(self, step: str, wanted: int) -> int:
        self._known.pop(step, None)
        self._tell(
            Notice(
                f"out of memory in the step {step!r}: activations are computed again from here on, "
                f"with {wanted} at a time"
            )
        )
        return wanted

    def _halved(self, step: str, at_once: int) -> int:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if at_once == 1:
            raise HeroError(
                f"the device's memory does not hold one picture in the step {step!r}",
                exit_code=ExitCode.ENVIRONMENT,
            )
        half = at_once // 2
        self._journal.limit(step, half)
        self._known[step] = half
        self._tell(
            Notice(
                f"out of memory in the step {step!r}: going on with {half} at a time, not {at_once}"
            )
        )
        return half
