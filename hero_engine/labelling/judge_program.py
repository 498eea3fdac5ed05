"""Runs a custom judge in its own process, so that its faults cannot damage the run.

A command is started for every round; it reads a JSON line a picture and writes one for each:

    in   {"image": 0, "path": "/…/000.png", "prompt": "1 hand"}
    out  {"image": 0, "score": 0.71}      or      {"image": 0, "label": "good" | "bad" | null}

A Python function gets the paths and the prompts, and returns a score, True, False, "good", "bad" or
None for each. It runs in its own interpreter (`judge_process.py`), which uses the same lines.

Time, output and number of answers are limited. JudgeFailed says in one line what went wrong.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import IO, Any

from hero_engine.core.errors import ExitCode, HeroError, short
from hero_engine.core.sanitize import sanitized
from hero_engine.labelling.judge_source import JudgeSource, Verdict

PROCESS = "hero_engine.labelling.judge_process"
"""The program that calls a Python function."""
MOST_BYTES = 1 << 24
"""Limits in bytes: output of a judge in a round, and the kept end of its error output."""
PIECE = 1 << 16
TICK = 0.5
"""Seconds between checks whether a stop was requested."""
LABELS = {"good": True, "bad": False, None: None, True: True, False: False}


class JudgeFailed(HeroError):  # noqa: N818 - reads as "the judge failed"
    """The judge gave no usable answer. Exit code 3; the round keeps waiting for labels."""

    def __init__(self, source: JudgeSource, what: str) -> None:
        super().__init__(f"the judge {short(source.name)} {what}", exit_code=ExitCode.ENVIRONMENT)


@dataclass(frozen=True)
class Asked:
    """A picture to judge."""

    path: Path
    prompt: str


def ask(
    source: JudgeSource,
    pictures: Sequence[Asked],
    raise_if_stopped: Callable[[], None] = lambda: None,
) -> list[Verdict]:
    """The judge's verdict on each picture. JudgeFailed if it gives none.

    raise_if_stopped: called twice a second; if it raises, the judge is ended.
    """
    lines = "".join(
        json.dumps({"image": number, "path": str(each.path), "prompt": each.prompt}) + "\n"
        for number, each in enumerate(pictures)
    )
    return _verdicts(source, _answer(source, lines.encode(), raise_if_stopped), len(pictures))


def _answer(source: JudgeSource, lines: bytes, raise_if_stopped: Callable[[], None]) -> bytes:
    """What the program writes to its standard output."""
    words = (
        source.command if source.kind == "command" else [sys.executable, "-m", PROCESS, source.what]
    )
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise JudgeFailed(source, f"cannot be started: {error.strerror}") from error
    try:
        exchange = Exchange(process, lines, time.monotonic() + source.seconds)
        problem = exchange.run(raise_if_stopped)
    finally:
        _end(process)
    said = exchange.last_error()
    if problem:
        raise JudgeFailed(source, f"{problem.format(seconds=source.seconds)}{said}")
    if process.returncode:
        raise JudgeFailed(source, f"ended with {_code(process.returncode)}{said}")
    return bytes(exchange.out)


def _code(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and all processes that it started."""
    with suppress(OSError):  # also the processes that it started
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


class Exchange:
    """Writes to a program and reads from it, until it closes its output or a limit is reached."""

    def __init__(self, process: subprocess.Popen[bytes], lines: bytes, deadline: float) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._process, self._left, self._deadline = process, memoryview(lines), deadline
        self._in, self._out, self._err = process.stdin, process.stdout, process.stderr
        self.out, self._errors = bytearray(), bytearray()

    def run(self, raise_if_stopped: Callable[[], None]) -> str:
        """Why the exchange was cut off; empty if the program ended normally."""
        with selectors.DefaultSelector() as selector:
            for pipe, event in self._pipes():
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event)
            while selector.get_map():
                raise_if_stopped()
                left = self._deadline - time.monotonic()
                if left <= 0:
                    return "gave no answer within {seconds:g} seconds"
                for key, _ in selector.select(min(left, TICK)):
                    if not self._moved(key.fileobj):
                        selector.unregister(key.fileobj)
                        self._close(key.fileobj)
                if len(self.out) > MOST_BYTES:
                    return "writes without end"
        return self._wait(raise_if_stopped)

    def _wait(self, raise_if_stopped: Callable[[], None]) -> str:
        """Wait for the end of a program that has closed its output."""
        while self._process.poll() is None:
            raise_if_stopped()
            left = self._deadline - time.monotonic()
            if left <= 0:
                return "does not end after its answer"
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(min(left, TICK))
        return ""

    def _close(self, pipe: Any) -> None:
        """Close a pipe that is done with: the program sees the end of its input."""
        with suppress(OSError):
            pipe.close()

    def _pipes(self) -> Iterator[tuple[IO[bytes], int]]:
        yield self._in, selectors.EVENT_WRITE
        yield self._out, selectors.EVENT_READ
        yield self._err, selectors.EVENT_READ

    def _moved(self, pipe: Any) -> bool:
        """Write or read a piece; False at the end."""
        if pipe is self._in:
            with suppress(BlockingIOError):
                try:
                    self._left = self._left[os.write(pipe.fileno(), self._left[:PIECE]) :]
                except BrokenPipeError:  # it reads no further
                    return False
            return bool(self._left)
        try:
            piece = os.read(pipe.fileno(), PIECE)
        except BlockingIOError:
            return True
        if pipe is self._out:
            self.out += piece
        else:
            self._errors = (self._errors + piece)[-PIECE:]
        return bool(piece)

    def last_error(self) -> str:
        """The last line of the program's error output, to put behind a message."""
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()
        return f": {short(sanitized(lines[-1]))}" if lines else ""


def _verdicts(source: JudgeSource, answer: bytes, count: int) -> list[Verdict]:
    """The answers in the order of the pictures."""
    found: dict[int, Verdict] = {}
    for number, line in enumerate(answer.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            image, verdict = _verdict(line, count)
        except ValueError as error:
            raise JudgeFailed(source, f"wrote a wrong line {number}: {error}") from error
        if image in found:
            raise JudgeFailed(source, f"wrote a wrong line {number}: image {image} comes twice")
        found[image] = verdict
    if len(found) < count:
        raise JudgeFailed(source, f"judged {len(found)} of {count} pictures")
    return [found[image] for image in range(count)]


def _verdict(line: str, count: int) -> tuple[int, Verdict]:
    """ValueError says what is wrong with the line."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{short(line)} is not JSON") from error
    if not isinstance(values, dict):
        raise ValueError(f"{short(line)} is not an object")
    image = values.get("image")
    if not isinstance(image, int) or isinstance(image, bool) or not 0 <= image < count:
        raise ValueError(f'"image" is {short(image)}; it must be from 0 to {count - 1}')
    if "score" in values:
        return image, Verdict(score=_score(values["score"]))
    if "label" not in values:
        raise ValueError('it has neither "score" nor "label"')
    label = values["label"]
    if not isinstance(label, str | bool | None) or label not in LABELS:
        raise ValueError(f'"label" is {short(label)}; it must be "good", "bad" or null')
    return image, Verdict(label=LABELS[label])


def _score(value: object) -> float | None:
    if value is None:
        return None
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        score = float(value) if usable else float("nan")  # type: ignore[arg-type]
    except OverflowError:
        score = float("nan")
    if not isfinite(score):
        raise ValueError(f'"score" is {short(value)}; it must be a number')
    return score
