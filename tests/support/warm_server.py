"""Processes forked off one that has imported the libraries and opened a model: `warmed_up`.

A process all the same, with a process id, signals and an exit code; what it lacks is the start of
an interpreter, ten seconds of a core with torch and diffusers.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver, reduction
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["warmed_up"])


def start(target: Callable[..., None], *arguments: Any) -> Any:
    """Begin a process that calls a function of a module; it is multiprocessing's."""
    _start_server()
    process = _SERVER.Process(target=target, args=arguments)
    process.start()
    return process


def _start_server() -> None:
    """Python 3.11's takes its module path from the environment alone."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


class OpenFile:
    """An open file on its way to another process, where it arrives as a new descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self.descriptor),)


def _received(passed: Any) -> int:
    return int(passed.detach())


def take_place(streams: Sequence[int], folder: Path | str, environment: dict[str, str]) -> None:
    """Make these descriptors the standard streams; a folder and an environment are its own too."""
    import torch

    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # New files: multiprocessing had closed stdin, and the server's own streams remember whether
    # they can seek.
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", closefd=False
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


class Script:
    """A Python script in a session of its own, with `subprocess.Popen`'s methods."""

    def __init__(
        self, script: Path, arguments: Sequence[str], stream: int, environment: dict[str, str]
    ) -> None:
        told = str(script), [*arguments], OpenFile(stream), environment
        self._process = start(_run_script, *told)
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self.poll()

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. subprocess.TimeoutExpired after the seconds."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("script", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _run_script(
    script: str, arguments: list[str], stream: int, environment: dict[str, str]
) -> None:
    import runpy

    os.setsid()
    take_place([stream, os.dup(stream), os.dup(stream)], Path.cwd(), environment)
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        atexit._run_exitfuncs()
