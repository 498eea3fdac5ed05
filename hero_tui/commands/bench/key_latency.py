"""Key latency while the engine works, and how much the open app slows the engine.

Keys are pressed in the first rounds. Then two runs with the same settings take turns, one in the
app without key presses and one without a terminal: each learns from a round and samples the next
while the other waits for labels.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.storage.run_folder import RunDir
from hero_tui.commands.bench.bytes_sent import environment
from hero_tui.commands.bench.pty_terminal import PtyTerminal

START = 180.0
"""Time limit in seconds until a run's first round waits for labels."""

MARKING, TURNING = (0.06, 0.20), (0.25, 0.60)
"""Shortest and longest pause in seconds before the next key, after a mark and after a page."""

MOST = 24
"""Maximum number of rounds with keys."""

LETTERS = "qwertyui"
"""Tiles of the page's second row, pressed when they are there."""

LIKED = "asdF"
"""Makes three tiles good and one the best, so that there is something to learn from."""

PAGE = re.compile(rb"page (\d+)/(\d+)")
RIGHT = "\x1b[C"
STEPS = ("sample", "embed", "update")


@dataclass(frozen=True)
class LatencyResult:
    """Keys pressed while the engine worked, and the engine's seconds with and without the app."""

    seconds: list[float]
    unanswered: int
    in_app: dict[str, float]
    alone: dict[str, float]

    @property
    def slowdown(self) -> float:
        """Share by which the engine is slower in the app; 0.05 is 5%."""
        return sum(self.in_app.values()) / sum(self.alone.values()) - 1

    def percentile(self, percent: int) -> float:
        """Seconds within which this percentage of the keys was answered."""
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


class EngineAlone:
    """The run without a terminal."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hero_tui.commands.bench.bare_engine", str(run.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,  # as the app: the kernel may share the cores out by session
        )

    def wait(self, round: int) -> None:
        """Wait until this round waits for labels."""
        until = time.monotonic() + START
        while not labelling(self.run, round):
            alive(self._process.poll() is None and time.monotonic() < until, self.run)
            time.sleep(0.05)

    def take_turn(self, round: int) -> None:
        """Learn from this round, and sample the next."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        self.wait(round + 1)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


class TypingUser:
    """Presses keys in the app while the engine works, and submits rounds."""

    def __init__(self, run: RunDir, keys: int) -> None:
        self.run, self.keys = run, keys
        self.seconds: list[float] = []
        self.unanswered = 0
        self._random = random.Random(0)
        self._terminal = PtyTerminal("kitty")
        command = [sys.executable, "-m", "hero_tui.cli", "resume", str(run.path)]
        self._terminal.start(command, environment(HERO_UI_GUIDE="false"))

    def wait(self, round: int, *, pressing: bool) -> None:
        """Wait until this round waits for labels; press keys meanwhile if `pressing`."""
        until = time.monotonic() + START
        while not labelling(self.run, round):
            alive(not self._terminal.ended() and time.monotonic() < until, self.run)
            pause = TURNING
            if pressing and len(self.seconds) < self.keys:
                key, answer = self._key()
                self._press(key, answer)
                pause = TURNING if key == RIGHT else MARKING
            self._listen(self._random.uniform(*pause))
        self._terminal.settle(0.3)

    def take_turn(self, round: int, *, pressing: bool = False) -> None:
        """Submit this round, then wait for the next one; press keys meanwhile if `pressing`."""
        until = time.monotonic() + START
        for letter in LIKED:
            self._terminal.type(letter)
            self._listen(0.1)
        while labelling(self.run, round):
            alive(not self._terminal.ended() and time.monotonic() < until, self.run)
            self._terminal.type("\r")
            self._listen(0.3)
        self.wait(round + 1, pressing=pressing)

    def close(self) -> None:
        """End the app."""
        self._terminal.close()

    def _key(self) -> tuple[str, bytes]:
        """A key that changes the screen now, and bytes that only its answer has."""
        status = self.run.status()
        pages = PAGE.findall(self._terminal.heard)
        page, count = (int(part) for part in pages[-1]) if pages else (1, 1)
        if page == 1 and status.get("phase") == "sampling" and status.get("pictures", 0) >= 16:
            letter = self._random.choice(LETTERS)
            return letter, b" %s  " % letter.encode()
        return RIGHT, b"page %d/" % (page % count + 1)

    def _press(self, key: str, answer: bytes) -> None:
        pressed = time.monotonic()
        at = self._terminal.answer(answer, self._terminal.type(key), seconds=2.0)
        if at is None:
            self.unanswered += 1
        else:
            self.seconds.append(at - pressed)

    def _listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._terminal.listen(left)


def measure_latency(
    folder: Path, settings: Settings, task: Task, *, keys: int, turns: int
) -> LatencyResult:
    """Measure: rounds until `keys` keys were pressed (MOST at most), then `turns` of each run.

    HeroError, exit code 1, if a run ends or hangs.
    """
    with at_work(folder, settings, task, keys) as (person, alone_engine):
        pressed = 0
        while pressed < MOST and len(person.seconds) < keys:
            person.take_turn(pressed, pressing=True)
            pressed += 1
        for turn in range(turns):
            for one in (person, alone_engine) if turn % 2 == 0 else (alone_engine, person):
                one.take_turn(turn + (pressed if one is person else 0))
        spent_by = [spent(person.run, pressed, turns), spent(alone_engine.run, 0, turns)]
        return LatencyResult(person.seconds, person.unanswered, *spent_by)


@contextmanager
def at_work(
    folder: Path, settings: Settings, task: Task, keys: int
) -> Iterator[tuple[TypingUser, EngineAlone]]:
    """Both runs, started one after the other, once their first rounds wait for labels."""
    app, alone = (RunDir.create(folder / name, settings, task) for name in ("app", "alone"))
    person = TypingUser(app, keys)
    try:
        person.wait(0, pressing=False)
        alone_engine = EngineAlone(alone)
        try:
            alone_engine.wait(0)
            yield person, alone_engine
        finally:
            alone_engine.close()
    finally:
        person.close()


def labelling(run: RunDir, round: int) -> bool:
    """Whether a round waits for labels."""
    status = run.status()
    return (status.get("round"), status.get("phase")) == (round, "labelling")


def spent(run: RunDir, first: int, turns: int) -> dict[str, float]:
    """Seconds by step over `turns` turns: learning from a round and sampling the next."""
    rounds = [event["seconds"] for event in events(run) if event["event"] == "round"]
    total = dict.fromkeys(STEPS, 0.0)
    for turn in range(first, first + turns):
        for step in STEPS[1:]:
            total[step] += rounds[turn][step]
        if turn > first:  # the last turn's sampling belongs to a round that never ends
            total["sample"] += rounds[turn]["sample"]
    return total


def events(run: RunDir) -> list[dict[str, Any]]:
    """The run's events."""
    text = (run.path / "events.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def alive(so: bool, run: RunDir) -> None:
    """HeroError, exit code 1, if a run has ended or hangs."""
    if not so:
        state = run.status().get("error") or run.status().get("state", "never began")
        raise HeroError(f"the run {run.path.name} ended: {state}", exit_code=ExitCode.FAILED)
