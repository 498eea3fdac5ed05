"""Disks that are full, or may not be written to."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trials import Subject, Tally, count


def full(name: str) -> None:
    """The disk is full from now on; an `Act`."""
    _refuse(name, errno.ENOSPC)


def over_quota(name: str) -> None:
    """The quota is used up from now on; an `Act`."""
    _refuse(name, errno.EDQUOT)


def read_only(name: str) -> None:
    """The file system turns read-only, as after a fault; an `Act`."""
    _refuse(name, errno.EROFS)


def _refuse(name: str, number: int) -> None:
    if not name.startswith(("sql", "step")):
        raise OSError(number, os.strerror(number))


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[bool]:
    """A file system of this size in memory; False if only root may have one."""
    path.mkdir(exist_ok=True)
    options = f"size={kilobytes}k"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def enlarge(path: Path, kilobytes: int) -> None:
    """Free the space."""
    options = f"remount,size={kilobytes}k"
    subprocess.run(["mount", "-o", options, str(path)], check=True)


def on_small_disks(subject: Subject, sizes: list[int]) -> Tally:
    """Runs on disks that are too small, and later large enough."""
    tally = Tally()
    for size in sizes:
        disk = subject.root / f"disk-{size}"
        with small_disk(disk, size) as mounted:
            if not mounted:
                return tally
            path = disk / "run"
            end = subject.process(path)
            if end.code == 0:
                continue
            tally.note(end, path, codes=(3,))
            count(subject, path, end, tally)
            enlarge(disk, 64 * 1024)
            subject.check(path, tally)
    return tally
