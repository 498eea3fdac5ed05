"""Real process groups for tests: a function runs on every rank, in processes of its own."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import warm_server

PATIENCE = 120.0
"""Seconds until ranks that do not end are killed."""


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launched(rank: int, count: int, port: int) -> dict[str, str]:
    """What accelerate's launcher says to one of `count` processes."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Ended:
    """How a rank ended: its exit code (negative for a signal), and what it printed."""

    code: int
    err: str


class Rank:
    """One rank at work."""

    def __init__(self, target: Callable[..., Any], environment: Mapping[str, str], err: Path):
        self._err = err
        self._process = warm_server.start(_run, target, dict(environment), err)
        self.pid: int = self._process.pid

    def end(self) -> Ended:
        """Wait for its end."""
        self._process.join(PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"a rank did not end within {PATIENCE} s: {self._err.read_text()}")
        return Ended(self._process.exitcode, self._err.read_text())


def start_ranks(count: int, target: Callable[[Any], None], folder: Path) -> list[Rank]:
    """Start `target(processes)` on every rank. It must be a function of a module."""
    port = free_port()
    return [
        Rank(target, launched(rank, count, port), folder / f"rank-{rank}.err")
        for rank in range(count)
    ]


def run_ranks(count: int, target: Callable[[Any], None], folder: Path) -> list[Ended]:
    """Run `target(processes)` on every rank to its end."""
    return [rank.end() for rank in start_ranks(count, target, folder)]


def _run(target: Callable[[Any], None], environment: dict[str, str], err: Path) -> None:
    import torch

    from hero_engine.core.errors import HeroError, StopRequested
    from hero_engine.distributed.launcher import Launched, joined

    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    here = Launched.from_environment()
    assert here is not None
    try:
        with joined(here) as processes:
            target(processes)
    except StopRequested:
        sys.exit(0)
    except HeroError as error:
        print(error.message, file=sys.stderr)
        sys.exit(error.exit_code)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [each for each, (parent, _) in _processes().items() if parent == pid]


def wait_for_end(pids: Collection[int]) -> None:
    """Wait until all of these processes have ended, whether or not somebody has waited for them."""
    give_up = time.monotonic() + PATIENCE
    while any(_processes().get(pid, (0, "Z"))[1] != "Z" for pid in pids):
        assert time.monotonic() < give_up
        time.sleep(0.05)


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of every process, by its id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        found[int(stat.parent.name)] = (int(parent), state)
    return found


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    give_up = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < give_up
        time.sleep(0.02)
