"""Starts the processes that follow, watches them, and ends with them.

Either this process starts them itself, on this machine (`hero run --processes N`), or a launcher
has started all, on any number of machines, and said so in the environment (`accelerate launch`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hero_engine.core.errors import HeroError, Lost

if TYPE_CHECKING:
    from hero_engine.distributed.collectives import Ranks

FOREVER = timedelta(days=365)
"""How long the others are waited for: a person may label for days. What ends a wait is `look`."""

HERE = "127.0.0.1"
GENTLY = 2.0
"""Seconds that processes get to end by themselves."""


@dataclass(frozen=True)
class Launched:
    """What a launcher such as `accelerate launch` says in the environment."""

    rank: int
    count: int

    @classmethod
    def here(cls) -> Launched | None:
        """None where no launcher started this process as one of several."""
        try:
            rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except (KeyError, ValueError):
            return None
        return cls(rank, count) if count > 1 else None


def check_processes(count: int) -> None:
    """HeroError, exit code 2, where so many processes cannot work on this machine."""
    if count == 1:
        return
    if Launched.here():
        raise HeroError("--processes goes without a launcher: accelerate has started all of them")
    import torch

    gpus = torch.cuda.device_count()
    if gpus and count > gpus:
        there = "is 1 GPU" if gpus == 1 else f"are {gpus} GPUs"
        raise HeroError(f"--processes {count}: one needs a GPU each, and there {there} here")


@contextmanager
def ranks_of(count: int, run: Path, raise_if_stopped: Callable[[], None]) -> Iterator[Ranks]:
    """The processes that work on a run, as this one, rank 0, sees them.

    count: those to start here; 1 where a launcher did, or there are no others. HeroError, exit
    code 75, where one ends before it should, here or in whatever is done with them.
    """
    from hero_engine.distributed.collectives import ALONE

    launched = Launched.here()
    if launched is not None:
        yield joined(launched, raise_if_stopped)
        return
    if count == 1:
        yield ALONE
        return
    with _shared_threads(count) as threads, _started(count, run, threads) as crew:

        def look() -> None:
            raise_if_stopped()
            crew.look()

        with _environment(crew.environment(0)):
            ranks = joined(Launched(0, count), look)
        yield ranks


def joined(launched: Launched, look: Callable[[], None] = lambda: None) -> Ranks:
    """Meet the others; returns once all are there, unless `look`, called meanwhile, raises."""
    from accelerate import PartialState

    from hero_engine.distributed.collectives import Ranks

    failed: list[Exception] = []

    def join() -> None:
        try:
            PartialState(cpu=True, backend="gloo", timeout=FOREVER)
        except Exception as error:
            failed.append(error)

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else accelerate warns of its own choice
    thread = threading.Thread(target=join, name="hero-join", daemon=True)
    thread.start()
    while thread.is_alive():
        look()
        thread.join(0.05)
    if failed:
        raise Lost(f"the processes do not find each other: {failed[0]}") from failed[0]
    return Ranks(launched.rank, launched.count, look)


class Crew:
    """The processes this one has started, by rank from 1 on; they end when it does.

    Each reads its stdin, of which this process holds the other end, and ends with it.
    """

    def __init__(self, count: int, run: Path, port: int, threads: int) -> None:
        self.count, self._run, self._port, self._threads = count, run, port, threads
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self, rank: int) -> dict[str, str]:
        """What a launcher would say to this rank."""
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": HERE,
            "MASTER_PORT": str(self._port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there: nobody else opens it
            "TORCHELASTIC_RESTART_COUNT": "0",
            "OMP_NUM_THREADS": str(self._threads),
        } | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})

    def start(self) -> None:
        """Start them all."""
        for rank in range(1, self.count):
            with self.log(rank).open("wb") as log:
                self._processes.append(self._start(rank, log))

    def _start(self, rank: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "hero_engine.distributed.follower"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **self.environment(rank)},
            start_new_session=True,  # Ctrl-C is rank 0's alone
        )

    def log(self, rank: int) -> Path:
        """What a process said; it is gone afterwards where that was nothing."""
        return self._run / f"process-{rank}.log"

    def look(self) -> None:
        """HeroError, exit code 75, where one has ended."""
        for rank, process in enumerate(self._processes, start=1):
            if (code := process.poll()) is not None:
                raise Lost(
                    f"process {rank} of {self.count} has ended ({self._why(rank, code)}); no label "
                    f"is lost. Go on with: hero resume {self._run}"
                )

    def _why(self, rank: int, code: int) -> str:
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        said = self.log(rank).read_text(errors="replace").strip().splitlines()
        return f"exit code {code}" + (f": {said[-1]}" if said else "")

    def end(self) -> None:
        """Let go of them; those that do not end by themselves are killed."""
        for process in self._processes:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
        for rank, process in enumerate(self._processes, start=1):
            try:
                process.wait(GENTLY)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(OSError):
                if not self.log(rank).stat().st_size:
                    self.log(rank).unlink()


@contextmanager
def _started(count: int, run: Path, threads: int) -> Iterator[Crew]:
    """A crew at work, and the store at which it meets, on a port that is free."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(HERE, 0, count, is_master=True, wait_for_workers=False)
    crew = Crew(count, run, store.port, threads)
    try:
        crew.start()
        yield crew
    finally:
        crew.end()


@contextmanager
def _shared_threads(count: int) -> Iterator[int]:
    """This process computes with its share of the threads it had; yields how many that is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // count))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
