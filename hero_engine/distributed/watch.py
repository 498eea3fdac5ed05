"""Tells a process that it must leave: a stop, an error elsewhere, a process that ended.

Ranks share torch's key-value store (a TCP server on rank 0's machine). A rank that fails writes its
one line there before it exits, and rank 0 writes that it leaves. So rank 0 can name the error of
another machine, and no other rank outlives rank 0. Nothing is waited for in a blocking call, so a
signal is answered at once and a wait for a person's labels has no limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hero_engine.core.errors import (
    ExitCode,
    HeroError,
    Lost,
    StopRequested,
    is_memory_short,
    one_line,
)

CHECK_SECONDS = 0.2
"""Least seconds between two checks of the store and of the started processes."""
MEET_PAUSE = 0.05
"""Seconds between two checks whether all ranks have come."""

FAILED = "hero/failed"


class Watch:
    """Called at every safe point of a rank and while it waits for others.

    store: torch's store that all ranks share. stop: raises StopRequested when this process was
    asked to stop. others: raises HeroError when a process that this one started has ended.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        count: int,
        stop: Callable[[], None] = lambda: None,
        others: Callable[[], None] = lambda: None,
    ) -> None:
        self.store, self._rank, self._count = store, rank, count
        self._stop, self._others = stop, others
        self._next_look = 0.0

    def __call__(self) -> None:
        """Raise StopRequested or HeroError if this rank must leave; cheap enough for any loop.

        HeroError has the message and exit code of the rank that failed, or exit code 75 if a
        process ended without a message.
        """
        self._stop()
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + CHECK_SECONDS
        if self._rank == 0:
            self._raise_failure()
            self._others()
        elif self._main_has_left():
            raise StopRequested("the first process has left")

    def meet(self) -> None:
        """Return when all ranks have come to the store; `__call__` is called meanwhile.

        Lost if the store is gone: with it, rank 0's machine is.
        """
        everyone = [_here(rank) for rank in range(self._count)]
        try:
            self.store.set(_here(self._rank), "")
            while not self.store.check(everyone):
                self()
                time.sleep(MEET_PAUSE)
        except RuntimeError as error:
            raise Lost(f"the first process is out of reach: {one_line(error)}") from error

    def report(self, error: Exception) -> None:
        """For rank 0: this rank leaves with this error. Only the first report counts."""
        message, exit_code = described(error)
        report = json.dumps({"rank": self._rank, "message": message, "exit_code": exit_code})
        with suppress(RuntimeError):  # the store is gone, and with it the run
            self.store.compare_set(FAILED, "", report)

    def leave(self, patience: float = 0.0) -> None:
        """This rank has ended. If it is rank 0, the others must end too.

        patience: seconds in which rank 0 waits for them. It may hold the store that they check.
        """
        with suppress(RuntimeError):
            self.store.set(_left(self._rank), "")
        if self._rank == 0:
            everyone = [_left(rank) for rank in range(self._count)]
            give_up = time.monotonic() + patience
            while time.monotonic() < give_up and not self.store.check(everyone):
                time.sleep(MEET_PAUSE)

    def _raise_failure(self) -> None:
        if not self.store.check([FAILED]):
            return
        report = json.loads(self.store.get(FAILED))
        raise HeroError(
            f"process {report['rank']} of {self._count}: {report['message']}",
            exit_code=ExitCode(report["exit_code"]),
        )

    def _main_has_left(self) -> bool:
        try:
            return bool(self.store.check([_left(0)]))
        except RuntimeError:  # rank 0 held the store, and has ended
            return True


def described(error: Exception) -> tuple[str, int]:
    """An error in one line, and the exit code of a process that it ends."""
    if isinstance(error, HeroError):
        return error.message, error.exit_code
    code = ExitCode.ENVIRONMENT if is_memory_short(error) else ExitCode.FAILED
    return f"{type(error).__name__}: {one_line(error)}", code


def _here(rank: int) -> str:
    return f"hero/here/{rank}"


def _left(rank: int) -> str:
    return f"hero/left/{rank}"
