"""Runs in child processes with injected faults; each must end as an undisturbed run does."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from instants import Act, Instants, die
from stand_ins import write_pipeline
from tiny_runs import LINES, TASK, VALUES, left_behind, tiny_settings

from hero_engine.config.settings import Settings
from hero_engine.core.errors import HeroError
from hero_engine.core.events import Event, Failed, Notice
from hero_engine.core.labels import Mark
from hero_engine.labelling.annotators import Pictures
from hero_engine.models.open_model import open_model
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, is_run
from hero_engine.training.trainer import Trainer

GIVEN = struct.Struct("=iii")
"""A label that was shown as given: round, picture, place in `MARKS`."""
MARKS = "gb*."
MEMORY_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where thousands of flushes take no time."""


@dataclass
class Tally:
    """Results of the faults of one kind."""

    faults: int = 0
    labels: int = 0
    lost: int = 0
    different: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)

    def note(self, end: Ended, path: Path, codes: tuple[int, ...]) -> None:
        """A process that a fault ended has to say so, in one line and with one of these codes."""
        line = end.said.removesuffix("\n").replace(str(path), "RUN")
        self.said.add(line)
        if end.code not in codes or "\n" in line or (path / "hero.log").exists():
            self.different.append(f"{path.name}: exit code {end.code}: {line}")


class Person:
    """Labels one picture after the other and reports each label; resumes where it stopped.

    `shown`: a descriptor for `GIVEN`.
    """

    def __init__(self, shown: int) -> None:
        self.shown = shown

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Mark what is not marked yet, then submit."""
        line = LINES[min(round, len(LINES) - 1)]
        before = {row.image for row in journal.history(round)}
        for image in pictures:
            if line[image] != "." and image not in before:
                journal.mark(round, [Mark(image, VALUES[line[image]])], source="person")
                os.write(self.shown, GIVEN.pack(round, image, MARKS.index(line[image])))
        journal.submit(round)


class Subject:
    """A tiny run under test; `straight` is its undisturbed result."""

    def __init__(self, root: Path, update: str) -> None:
        torch.set_num_threads(1)
        self.root = root / update
        model = root / "model"
        if not model.exists():
            write_pipeline(model, 4, 8)
        self.settings: Settings = tiny_settings(model, update=update)
        self.model = open_model(str(model), self.settings.lora, "cpu", seed=self.settings.seed)
        straight = self.root / "straight"
        begun = time.monotonic()
        end = self.process(straight)
        assert end.code == 0, end
        self.seconds = time.monotonic() - begun
        self.straight = self.state(straight)
        self.instants = json.loads((straight / "instants.json").read_text())

    def process(
        self, path: Path, nth: int | None = None, act: Act = die, kill_after: float | None = None
    ) -> Ended:
        """Begin or resume a run in a child process; returns how the child ended."""
        show, shown = os.pipe()
        say, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(show), os.close(say)
            self._child(path, shown, said, Instants(path, nth, act))
        os.close(shown), os.close(said)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        given = list(GIVEN.iter_unpack(read_all(show)))
        text = read_all(say).decode()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Ended(code, given, text)

    def _child(self, path: Path, shown: int, said: int, instants: Instants) -> None:
        """Run in the child; never returns."""
        code = 70
        try:
            code = self._work(path, shown, said, instants)
        except HeroError as error:
            code = error.exit_code
            os.write(said, error.message.encode())
        except BaseException as error:
            os.write(said, repr(error).encode())
        finally:
            os._exit(code)

    def _work(self, path: Path, shown: int, said: int, instants: Instants) -> int:
        last: list[Event] = []

        def hear(event: Event) -> None:
            last.append(event)
            if isinstance(event, Failed | Notice):
                os.write(said, f"{event.message}\n".encode())

        trainer = Trainer(self.settings, self.model)
        Trainer.open = classmethod(lambda cls, *_: trainer)  # type: ignore[method-assign,assignment]
        instants.watch()
        run = RunDir.open(path) if is_run(path) else RunDir.create(path, self.settings, TASK)
        worker = EngineThread(run, hear, annotator=Person(shown), device="cpu")
        asked = worker.raise_if_stopped
        worker.raise_if_stopped = lambda: (instants.at("step"), asked())[1]  # type: ignore[method-assign]
        worker.run()
        if path.name == "straight":
            (path / "instants.json").write_text(json.dumps(instants.names))
        end = last[-1]
        return end.exit_code if isinstance(end, Failed) else 0

    def state(self, path: Path) -> dict[str, Any]:
        """Every picture and tensor byte by byte, every label and figure but the seconds."""
        run = RunDir.open(path)
        with Journal.reading(run.journal_path) as journal:
            figures = [{**each, "seconds": None} for each in journal.metrics()]
            labels = [journal.labels(round, self.settings.batch) for round in range(len(LINES))]
        return {**left_behind(run), "labels": labels, "figures": figures}

    def lost(self, path: Path, given: list[tuple[int, int, int]]) -> int:
        """How many labels that were shown as given are not in the journal."""
        if not given:
            return 0
        with Journal.reading(path / "journal.db") as journal:
            kept = {
                (round, row.image, row.value)
                for round in range(len(LINES))
                for row in journal.history(round)
            }
        return sum((r, i, VALUES[MARKS[at]]) not in kept for r, i, at in given)

    def check(self, path: Path, tally: Tally) -> None:
        """Resume to the end; returns what differs from an undisturbed run."""
        end = self.process(path)
        if end.code:
            tally.different.append(f"{path.name}: exit code {end.code}: {end.said}")
            return
        state = self.state(path)
        wrong = [name for name in self.straight if state.get(name) != self.straight[name]]
        if wrong or state.keys() != self.straight.keys():
            tally.different.append(f"{path.name}: {wrong or state.keys() ^ self.straight.keys()}")

    @contextmanager
    def trial(self, name: str) -> Iterator[Path]:
        """A folder for a run, gone afterwards."""
        path = self.root / name
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its code, the labels it said were given, its lines."""

    code: int
    given: list[tuple[int, int, int]]
    said: str


def read_all(descriptor: int) -> bytes:
    """Everything read from a pipe until its other end is closed."""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def killed_at(subject: Subject, instants: list[int]) -> Tally:
    """Kill the run at each of these instants, and resume it."""
    tally = Tally()
    for nth in instants:
        with subject.trial(f"at-{nth}") as path:
            end = subject.process(path, nth)
            assert end.code == -signal.SIGKILL, (nth, end)
            count(subject, path, end, tally)
            subject.check(path, tally)
    return tally


def killed_again_and_again(subject: Subject, times: int, seed: int) -> Tally:
    """Kill runs at random times, `kills` times in all."""
    tally, draws, number = Tally(), random.Random(seed), 0
    while tally.faults < times:
        number += 1
        with subject.trial(f"chance-{number}") as path:
            while True:
                after = draws.uniform(0, 1.5 * subject.seconds) if tally.faults < times else None
                end = subject.process(path, kill_after=after)
                if end.code == 0:
                    break
                count(subject, path, end, tally)
            subject.check(path, tally)
    return tally


def failing_at(subject: Subject, instants: list[int], act: Act) -> Tally:
    """Let every change of the disk fail from the nth on; then let them succeed again."""
    tally = Tally()
    for nth in instants:
        with subject.trial(f"fails-{nth}") as path:
            end = subject.process(path, nth, act)
            tally.note(end, path, codes=(0, 3))
            count(subject, path, end, tally)
            subject.check(path, tally)
    return tally


def count(subject: Subject, path: Path, end: Ended, tally: Tally) -> None:
    """Add a fault, the labels that had been given before it, and those that are gone."""
    tally.faults += 1
    tally.labels += len(end.given)
    tally.lost += subject.lost(path, end.given)
