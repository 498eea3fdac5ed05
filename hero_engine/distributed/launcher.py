"""Starts the ranks of a run, and opens their process group through accelerate.

Either this process starts the others itself, on this machine (`hero run --processes N`), or a
launcher has started all of them, on any number of machines (`accelerate launch`). Both say which
rank is which in the same environment variables; from there on the two are one case.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hero_engine.core.errors import HeroError, Lost, StopRequested, one_line

if TYPE_CHECKING:
    from hero_engine.distributed.collectives import Processes
    from hero_engine.distributed.watch import Watch

NO_LIMIT = timedelta(days=365)
"""Time limit of a collective: a person may label for days. `Watch` ends other waits."""

LOCALHOST = "127.0.0.1"
STARTED_BY = "HERO_STARTED_BY"
"""Environment variable: process id of rank 0, for the processes that it starts."""
END_SECONDS = 2.0
"""How long a started process may take to leave after the run; then it is terminated."""
CONNECT_SECONDS, CONNECT_PAUSE = 1.0, 0.2
"""How long an attempt to connect to rank 0's machine may take, and the pause before the next."""
LEAVE_SECONDS = 10.0
"""How long rank 0 waits for processes that a launcher started to leave before it does."""


def nothing() -> None:
    """The check that never raises."""


@dataclass(frozen=True)
class Launched:
    """What a launcher such as `accelerate launch` says in the environment."""

    rank: int
    count: int

    @classmethod
    def from_environment(cls) -> Launched | None:
        """None if no launcher started this process as one of several."""
        try:
            rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except (KeyError, ValueError):
            return None
        return cls(rank, count) if count > 1 else None


def check_processes(count: int) -> None:
    """HeroError, exit code 2, if this machine cannot run this many processes."""
    if count == 1:
        return
    if Launched.from_environment():
        raise HeroError("leave out --processes: accelerate launch has started all processes")
    import torch

    gpus = torch.cuda.device_count()
    if gpus and count > gpus:
        have = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        raise HeroError(
            f"--processes {count}: each process needs its own GPU, and this machine has {have}"
        )


@contextmanager
def processes_of(
    count: int, folder: Path, program: str, stop: Callable[[], None] = nothing
) -> Iterator[Processes]:
    """The processes of a run, for rank 0. When the block has ended, so have the others.

    count: processes to run on this machine, this one included; 1 if a launcher started them, or
    if there is no other. folder: for their logs. program: the module that the others run; it calls
    `joined`. stop: raises StopRequested when this process was asked to stop.
    In the block: HeroError with the error of another process, or Lost if one ended without.
    """
    from hero_engine.distributed.collectives import SINGLE

    launched = Launched.from_environment()
    if launched is not None:
        with joined(launched, stop) as processes:
            yield processes
    elif count == 1:
        yield SINGLE
    else:
        with (
            _started(count, folder, program) as started,
            joined(
                Launched(0, count), stop, started.check, started.store, started.environment(0)
            ) as processes,
        ):
            yield processes


@contextmanager
def joined(
    launched: Launched,
    stop: Callable[[], None] = nothing,
    others: Callable[[], None] = nothing,
    store: Any = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Processes]:
    """This rank among the others, once all have come.

    others: raises HeroError when a process that this one started has ended. store: where the ranks
    meet; None for the address in the environment. environment: what a launcher would say.
    A rank above 0 reports an error of the block to rank 0 before it leaves, and gets StopRequested
    in the block when rank 0 has left.
    """
    from hero_engine.distributed.collectives import Processes
    from hero_engine.distributed.watch import Watch

    rank, count = launched.rank, launched.count
    patience = LEAVE_SECONDS if store is None else 0.0  # else `StartedProcesses` waits for them
    with _lost_is_a_stop(rank):
        watch = Watch(store or _store(launched, stop), rank, count, stop, others)
        with _reported(watch, rank, patience):
            open_group = _group_opener(watch.store, environment or {})
            watch.meet()
            open_group()
            yield Processes(rank, count, watch)


@contextmanager
def _lost_is_a_stop(rank: int) -> Iterator[None]:
    """A rank above 0 that loses another one stops: rank 0 says which process ended, and why."""
    try:
        yield
    except Lost as error:
        if rank == 0:
            raise
        raise StopRequested(error.message) from error


@contextmanager
def _reported(watch: Watch, rank: int, patience: float) -> Iterator[None]:
    """Tell the other ranks how the block ended here; an error is for rank 0 to name."""
    try:
        yield
    except (Lost, StopRequested):
        raise
    except Exception as error:
        if rank > 0:
            watch.report(error)
        raise
    finally:
        watch.leave(patience)


def _store(launched: Launched, stop: Callable[[], None]) -> Any:
    """Torch's key-value store at the launcher's address; rank 0 serves it if the launcher does not.

    Waits for the server without a limit: the first machine's command may be typed hours later.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    serve = launched.rank == 0 and not served
    if not serve:
        _wait_for_server(address, port, stop)
    try:
        return TCPStore(
            address, port, launched.count, is_master=serve, timeout=NO_LIMIT, wait_for_workers=False
        )
    except RuntimeError as error:
        raise Lost(f"{address}:{port} is out of reach: {one_line(error)}") from error


def _wait_for_server(address: str, port: int, stop: Callable[[], None]) -> None:
    """Return once the port accepts connections. Torch's own wait answers no signal."""
    while True:
        stop()
        try:
            socket.create_connection((address, port), timeout=CONNECT_SECONDS).close()
        except OSError:
            time.sleep(CONNECT_PAUSE)
        else:
            return


def _group_opener(store: Any, environment: dict[str, str]) -> Callable[[], None]:
    """Opens gloo, in the group that accelerate keeps for the process, once all ranks are there.

    Accelerate is imported here, before the ranks meet: opening then takes milliseconds, in which
    no signal is answered.
    """
    from accelerate import PartialState
    from accelerate.utils import patch_environment

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or accelerate sets the threads, and warns

    def open_group() -> None:
        try:
            with patch_environment(**environment):
                PartialState(cpu=True, backend="gloo", timeout=NO_LIMIT, store=store)
        except (RuntimeError, ValueError) as error:
            raise Lost(f"the processes cannot connect to each other: {one_line(error)}") from error

    return open_group


class StartedProcesses:
    """Ranks 1 and up, started by this process on this machine."""

    def __init__(self, count: int, folder: Path, program: str, threads: int) -> None:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self.count, self._folder, self._program = count, folder, program
        self._threads = threads
        self.store = TCPStore(LOCALHOST, 0, count, is_master=True, wait_for_workers=False)
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self, rank: int) -> dict[str, str]:
        """What accelerate's launcher would say to this rank."""
        said = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": LOCALHOST,
            "MASTER_PORT": str(self.store.port),
            "OMP_NUM_THREADS": str(self._threads),
            STARTED_BY: str(os.getpid()),
        }
        return said | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})

    def start(self) -> None:
        """Start them all."""
        for rank in range(1, self.count):
            with self.log(rank).open("wb") as log:
                self._processes.append(self._start(rank, log))

    def _start(self, rank: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", self._program],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **self.environment(rank)},
            start_new_session=True,  # Ctrl+C in the terminal is for rank 0, which ends the others
        )

    def log(self, rank: int) -> Path:
        """Output of a process; removed at the end if it is empty."""
        return self._folder / f"process-{rank}.log"

    def check(self) -> None:
        """Lost, with the signal or the last line of its log, if one has failed.

        One that ended with exit code 0 has finished before rank 0 did.
        """
        for rank, process in enumerate(self._processes, start=1):
            if process.poll():
                raise Lost(
                    f"process {rank} of {self.count} ended ({self._why(rank, process.returncode)})"
                    f"; no label is lost. Resume with: hero resume {self._folder}"
                )

    def _why(self, rank: int, code: int) -> str:
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        printed = self.log(rank).read_text(errors="replace").strip().splitlines()
        return f"exit code {code}" + (f": {printed[-1]}" if printed else "")

    def end(self) -> None:
        """Wait for those that leave, and end the others: they hold no data."""
        for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
            _wait(self._processes, END_SECONDS)
            for process in self._processes:
                end(process)  # does nothing to one that has ended
        _wait(self._processes, None)
        for rank in range(1, len(self._processes) + 1):
            log = self.log(rank)
            with suppress(OSError):
                if not log.stat().st_size:
                    log.unlink()


def _wait(processes: Sequence[subprocess.Popen[bytes]], seconds: float | None) -> None:
    """Wait for all of them, together no longer than that."""
    give_up = None if seconds is None else time.monotonic() + seconds
    for process in processes:
        left = None if give_up is None else max(0.0, give_up - time.monotonic())
        with suppress(subprocess.TimeoutExpired):
            process.wait(left)


@contextmanager
def _started(count: int, folder: Path, program: str) -> Iterator[StartedProcesses]:
    """The other processes at work. This one computes with its share of torch's threads."""
    import torch

    before = torch.get_num_threads()
    threads = max(1, before // count)
    torch.set_num_threads(threads)
    started = StartedProcesses(count, folder, program, threads)
    try:
        started.start()
        yield started
    finally:
        started.end()
        torch.set_num_threads(before)


def own_device() -> str:
    """The device of this process: each has a GPU of its machine, if there are any."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return "cuda"


def stop_with_parent() -> Callable[[], None]:
    """A check that raises StopRequested once the process that started this one has ended.

    Its process id comes from the environment, since it may have ended already.
    """
    parent = int(os.environ[STARTED_BY])

    def check() -> None:
        if os.getppid() != parent:
            raise StopRequested("the first process has ended")

    return check
