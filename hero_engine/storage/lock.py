"""Whose run it is: one process at a time holds the lock file, and writes its id into it.

The system gives the lock back when its holder dies, however it dies: what a dead process left in
the file keeps nobody out.
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
"""Seconds to try for the lock, since whoever looks whether a run is in use holds it briefly."""
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run for this process.

    HeroError where another one holds it (exit code 4, with its id), or where it cannot be written
    to (3).
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
    """Whether some process holds the run at this moment."""
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
    """By whom, if the lock file says."""
    file.seek(0)
    pid = file.read(20).strip()
    return f" by another hero (process {pid})" if pid.isdecimal() else " by another hero"
