"""`hero` as its users have it: a process with arguments, two output streams and an exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import warm_server

PROJECT = Path(__file__).parents[2]
PATIENCE = 170.0
"""Seconds; on a busy machine torch and diffusers alone take ten to import."""

BATCH, ROUNDS = 6, 3
SMALL = {
    "microbatch": 2,
    "sampler.steps": 8,
    "embedding.epochs": 20,
    "embedding.features": 16,
    "embedding.head": [16, 8],
    "ddpo.steps_per_image": 3,
}
"""A round of a tiny model in about a second: long enough to be interrupted."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """stdout as the JSON lines that it must be."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, and what its process said."""

    path: Path
    said: Done


class Command:
    """A command at work."""

    def __init__(self, process: Any, outputs: tuple[Path, Path]) -> None:
        self._process, self._outputs = process, outputs
        self.pid: int = process.pid

    def ended(self) -> Done | None:
        """What it said, if it has ended."""
        fresh = isinstance(self._process, subprocess.Popen)
        code = self._process.poll() if fresh else self._process.exitcode
        return None if code is None else Done(code, *(path.read_text() for path in self._outputs))

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    @contextmanager
    def held_still(self) -> Iterator[None]:
        """Let it get no further while something else is done; what it is sent waits until then."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def wait(self, until: Callable[[], object]) -> None:
        """Wait until something is so, while the command works."""
        give_up = time.monotonic() + PATIENCE
        while not until():
            assert self.ended() is None, self.ended()
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def end(self) -> Done:
        """Wait for its end."""
        give_up = time.monotonic() + PATIENCE
        while (done := self.ended()) is None:
            if time.monotonic() > give_up:
                self._process.kill()
                raise TimeoutError(f"hero works for more than {PATIENCE} s")
            time.sleep(0.01)
        return done


class Hero:
    """Runs `hero` in a folder of its own, offline and on one core.

    Called, or with `start`, it is a new interpreter. `warm` forks it off one that has imported the
    libraries already: a process all the same, with a process id, signals and an exit code.
    """

    def __init__(self, home: Path) -> None:
        self.home, self._number = home, count()
        self.environment = {
            "HERO_RUNS": str(home / "runs"),
            "HERO_DEBUG": "",
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "HF_HOME": str(home / "hub"),
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(PROJECT),
            "CUDA_VISIBLE_DEVICES": "",
            "COLUMNS": "80",
        }

    def __call__(self, *arguments: object, **environment: str) -> Done:
        """Run a command to its end."""
        return self.start(*arguments, **environment).end()

    def start(self, *arguments: object, **environment: str) -> Command:
        """Begin a command in a new interpreter."""
        out, err = self._outputs()
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "hero_tui.cli", *map(str, arguments)],
                cwd=self.home,
                env=os.environ | self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
            )
        return Command(process, (out, err))

    def warm(
        self, *arguments: object, first: Callable[[], None] | None = None, **environment: str
    ) -> Command:
        """Begin a command that need not import the libraries.

        first: called in its process before it begins.
        """
        outputs = self._outputs()
        told = [*map(str, arguments)], self.home, self.environment | environment
        return Command(warm_server.start(_forked, *told, outputs, first), outputs)

    def _outputs(self) -> tuple[Path, Path]:
        number = next(self._number)
        return self.home / f"{number}.out", self.home / f"{number}.err"


def _forked(
    arguments: list[str],
    home: Path,
    environment: dict[str, str],
    outputs: tuple[Path, Path],
    first: Callable[[], None] | None,
) -> None:
    import torch

    from hero_tui.cli import main

    # The server read OMP_NUM_THREADS before this was its environment, and sums depend on it.
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    for stream, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(home)
    os.environ.update(environment)
    if first is not None:
        first()
    main(arguments)


class WarmCommand:
    """A `hero` for a shell's PATH that need not import the libraries.

    The script hands its arguments, folder, environment and streams to this process, which forks a
    child as `Hero.warm` does; it passes signals on, and ends with the child's exit code.
    """

    CLIENT = """#!{python}
import json, os, signal, socket, sys
passed = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
signal.pthread_sigmask(signal.SIG_BLOCK, passed)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(told).to_bytes(4, "big")], [0, 1, 2])
server.sendall(told)
child = int(server.recv(16))
for each in passed:
    signal.signal(each, lambda number, frame: os.kill(child, number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, passed)
sys.exit(int(server.recv(16)))
"""

    def __init__(self, folder: Path) -> None:
        address = str(folder / "hero.socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        script = folder / "hero"
        script.write_text(self.CLIENT.format(python=sys.executable, address=address))
        script.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more commands."""
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        size, streams, _, _ = socket.recv_fds(client, 4, 3)
        told = b""
        while len(told) < int.from_bytes(size, "big"):
            told += client.recv(65536)
        process = warm_server.start(_forked_here, told, [*map(warm_server.OpenFile, streams)])
        for stream in streams:
            os.close(stream)
        client.sendall(str(process.pid).encode())
        process.join()
        client.sendall(str(process.exitcode).encode())
        client.close()


def _forked_here(told: bytes, streams: list[int]) -> None:
    from hero_tui.cli import main

    arguments, folder, environment = json.loads(told)
    warm_server.take_place(streams, folder, environment)
    main(arguments)


def write_labels(path: Path, rounds: Iterable[int]) -> Path:
    """A labels file: every other picture is good, picture 3 or 2 best."""
    rows = [
        {"round": round, "image": image, "label": "good" if (image + round) % 2 else "bad"}
        | ({"best": True} if image == 3 - round % 2 else {})
        for round in rounds
        for image in range(BATCH)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def small_run(model: Path, folder: Path, labels: object = "none", *more: object) -> list[object]:
    """Arguments of a headless run that takes seconds."""
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    named = {"task": "hands", "model": model, "dir": folder, "labels": labels, "seed": 5}
    options = [word for name, value in named.items() for word in (f"--{name}", value)]
    return ["run", *options, "--headless", "--batch", BATCH, "--rounds", ROUNDS, *settings, *more]
