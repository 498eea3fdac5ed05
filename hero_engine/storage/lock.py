"""The lock of a run: one process at a time holds it, and its id is in the lock file.

The system releases the lock when its holder dies, so what a dead process left in the file blocks
nobody.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hero_engine.core.errors import ExitCode, HeroError

LOOK = 0.2
"""Seconds to try for the lock: a process that checks whether a run is in use holds it briefly."""
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run for this process.

    HeroError if another process holds it (exit code 4, with its id), or it cannot be written (3).
    """
    with _open(run, "a+") as file:
        if not _try(file, LOOK):
            raise HeroError(f"{run} is in use{_owner(file)}", exit_code=ExitCode.RUN)
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        except OSError as error:
            raise _refusal(run, error) from error
        yield


def is_locked(run: Path) -> bool:
    """Whether a process holds the run now."""
    if not (run / "lock").exists():
        return False
    with _open(run, "r") as file:
        return not _try(file)


def _open(run: Path, mode: str) -> TextIO:
    try:
        return (run / "lock").open(mode, encoding="ascii", errors="replace")  # type: ignore[return-value]
    except OSError as error:
        raise _refusal(run, error) from error


def _refusal(run: Path, error: OSError) -> HeroError:
    code = ExitCode.ENVIRONMENT if error.errno in UNWRITABLE else ExitCode.RUN
    return HeroError(f"cannot lock {run}/lock: {error.strerror}", exit_code=code)


def _try(file: TextIO, patience: float = 0.0) -> bool:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK / 20)
        else:
            return True


def _owner(file: TextIO) -> str:
    """By which process, if the lock file has its id."""
    file.seek(0)
    pid = file.read(20).strip()
    return f" by another hero (process {pid})" if pid.isdecimal() else " by another hero"
