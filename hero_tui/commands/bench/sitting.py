"""A person's sitting at the real engine, on a clock that skips what nobody has to sit through.

While the engine does nothing but wait for labels, it is all the same to it how that time passes:
the clock goes on to the person's next deed. While the engine works, the clock is the machine's.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.config import Settings
from hero_engine.disk.journal import Journal
from hero_engine.disk.rundir import RunDir
from hero_engine.errors import ExitCode, HeroError, StopRequested
from hero_engine.habits import criterion
from hero_engine.labellers import Pictures, judged, read_pictures
from hero_engine.protocol import (
    Event,
    Failed,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    Stop,
)
from hero_engine.tasks import Task
from hero_engine.worker import EngineWorker
from hero_tui.commands.bench.person import Person, Sitting, Tempo, Verdict
from hero_tui.desk import Desk

if TYPE_CHECKING:
    from hero_engine.embedded.judge import Judge

PHASES = {"training": "representation"}
"""What the engine does first in a phase, where it is not called as the phase is."""


class EngineRoom:
    """What an engine's thread and a person tell each other, and the clock that both go by.

    To the engine it is a labeller, whose labels come from the person. real_time: nothing is
    skipped.
    """

    def __init__(self, *, real_time: bool = False) -> None:
        self.doings: list[tuple[float, str]] = [(0.0, "opening")]
        self._told = threading.Condition()
        self._pictures: dict[tuple[int, int], Path] = {}
        self._handed_in: set[int] = set()
        self._last: Failed | Finished | None = None
        self._idle, self._leaving, self._real_time = False, False, real_time
        self._begun = time.monotonic()

    # -- the engine's side --

    def hear(self, event: Event) -> None:
        """Take an event in."""
        with self._told:
            match event:
                case ImagesReady(round=round):
                    paths = zip(event.indices, event.paths, strict=True)
                    self._pictures |= {(round, image): Path(path) for image, path in paths}
                case Failed() | Finished():
                    self._last = event
            if (doing := begins(event)) not in (None, self.doings[-1][1]):
                self.doings.append((self.now(), str(doing)))
            self._told.notify_all()

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Wait until the person hands the round in; StopRequested when they leave."""
        with self._told:
            self._idle = True
            self._told.notify_all()
            self._told.wait_for(lambda: round in self._handed_in or self._leaving)
            self._idle = False
            if self._leaving:
                raise StopRequested

    # -- the person's side --

    def now(self) -> float:
        """Seconds since the room was opened, with those that were skipped."""
        return time.monotonic() - self._begun

    def picture(self, round: int, image: int) -> Path:
        """The picture, as soon as it is there. HeroError where the engine ends before."""
        with self._told:
            self._told.wait_for(lambda: (round, image) in self._pictures or self._last)
            if (round, image) in self._pictures:
                return self._pictures[round, image]
        raise ended_early(self._last)

    def spend(self, until: float) -> None:
        """Let time pass until then; skip what is left of it once the engine only waits."""
        with self._told:
            self._told.wait_for(self._skips, timeout=max(0.0, until - self.now()))
            if self._skips():
                self._begun -= max(0.0, until - self.now())

    def hand_in(self, round: int) -> None:
        """Tell the engine that the round's labels are in the journal, complete."""
        with self._told:
            self._handed_in.add(round)
            self._idle = False
            self._told.notify_all()

    def leave(self) -> None:
        """Nothing more will be handed in."""
        with self._told:
            self._leaving = True
            self._told.notify_all()

    def _skips(self) -> bool:
        return self._idle and not self._real_time


def ended_early(last: Failed | Finished | None) -> HeroError:
    """Why there are no more pictures."""
    if isinstance(last, Failed):
        return HeroError(last.message, exit_code=last.exit_code)
    return HeroError("the engine ended before the session", exit_code=ExitCode.FAILED)


def by_the_judge(task: Task) -> Callable[[Path], Verdict]:
    """What the labelling judge makes of a picture; it is opened when the first one is there."""
    name = judged(task)

    @cache
    def judge() -> Judge:
        from hero_engine.embedded.judge import Judge

        return Judge.open("labeller")

    def verdict(path: Path) -> Verdict:
        image, wanted = read_pictures({0: path}), criterion(task)
        good = judge().success(name, image, wanted)
        return bool(good[0]), float(judge().success_probability(name, image, wanted)[0])

    return verdict


def begins(event: Event) -> str | None:
    """What the engine begins to do, where an event says so."""
    match event:
        case PhaseStarted(phase=phase):
            return PHASES.get(phase, phase)
        case Progress(step="embed", done=done, total=total) if done == total:
            return "update"
        case Progress(step="update" | "unlabelled"):
            return "update"
    return None


def sit(settings: Settings, task: Task, tempo: Tempo, *, real_time: bool = False) -> Sitting:
    """A run of `settings.rounds` rounds that a person labels as the judge sees them.

    HeroError where the engine fails.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = RunDir.create(Path(folder) / "run", settings, task)
        room = EngineRoom(real_time=real_time)
        worker = EngineWorker(run, room.hear, labeller=room)
        with Journal(run.journal_path) as journal:
            person = Person(Desk(journal, run.path), room, by_the_judge(task), tempo)
            worker.start()
            try:
                person.sit(settings.rounds, settings.batch)
            finally:
                room.leave()
                worker.send(Stop())
                worker.join()
        person.sitting.doings = room.doings
        return person.sitting
