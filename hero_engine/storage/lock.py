"""The lock of a run: one process at a time holds it; the lock file has its id and its host's name.

The system releases the lock when its holder dies, so what a dead process left in the file blocks
nobody. Only where a lock stays on one machine (see `file_system`) a name of another host in the
file does, since a hero may still run there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.storage.file_system import file_system

LOOK = 0.2
"""Seconds to try for the lock: a process that checks whether a run is in use holds it briefly."""
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
MOST_READ = 300
HOST = re.compile(r"[\w.-]{1,255}", re.ASCII)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run for this process.

    HeroError if another process holds it (exit code 4, with its id), or it cannot be written (3).
    """
    with _open(run, "a+") as file:
        if not _try(file, LOOK):
            raise HeroError(f"{run} is in use{_owner(file)}", exit_code=ExitCode.RUN)
        if _maybe_held_elsewhere(run, file):
            raise HeroError(
                f"{run} is in use{_owner(file)}. If no hero runs there, delete {run}/lock",
                exit_code=ExitCode.RUN,
            )
        try:
            _rewrite(file, f"{os.getpid()} {socket.gethostname()}")
        except OSError as error:
            raise _refusal(run, error) from error
        try:
            yield
        finally:
            with suppress(OSError):
                _rewrite(file, "")


def is_locked(run: Path) -> bool:
    """Whether a process holds the run now."""
    if not (run / "lock").exists():
        return False
    with _open(run, "r") as file:
        return _maybe_held_elsewhere(run, file) or not _try(file)  # holds the lock for an instant


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


def _rewrite(file: TextIO, text: str) -> None:
    """Replace the content of the lock file."""
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _maybe_held_elsewhere(run: Path, file: TextIO) -> bool:
    """Whether a process of another host, whose lock would not show here, has not released it."""
    return not file_system(run).locks_shared and _holder(file)[1] not in ("", socket.gethostname())


def _owner(file: TextIO) -> str:
    """By which process, if the lock file has its id, and on which host, if it is another."""
    pid, host = _holder(file)
    if not pid:
        return " by another hero"
    there = f" on {host}" if host not in ("", socket.gethostname()) else ""
    return f" by another hero (process {pid}{there})"


def _holder(file: TextIO) -> tuple[str, str]:
    """Process id and host in the lock file; each empty if it is not there."""
    file.seek(0)
    pid, _, host = file.read(MOST_READ).strip().partition(" ")
    return (pid, host if HOST.fullmatch(host) else "") if pid.isdecimal() else ("", "")
