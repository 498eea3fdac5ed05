"""Times of a simulated user at the real engine, on a clock that skips idle time.

While the engine only waits for labels, the clock jumps to the user's next key. While the engine
works, it is the machine's clock.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.core.errors import ExitCode, HeroError, StopRequested
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    Stop,
)
from hero_engine.labelling.annotators import Pictures, judged, read_pictures
from hero_engine.labelling.simulated import criterion
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.commands.bench.simulated_user import SessionTimes, SimulatedUser, UserTiming, Verdict
from hero_tui.session.labelling_round import LabellingRound

if TYPE_CHECKING:
    from hero_engine.embedded.judge import Judge

PHASES = {"training": "representation"}
"""The first step of a phase, if its name differs from the phase's."""


class TimedEngine:
    """Connects the engine thread and a simulated user, and keeps the clock of both.

    It is the engine's annotator. on_pictures: called with new pictures, in the engine thread.
    real_time: skip nothing.
    """

    def __init__(
        self,
        on_pictures: Callable[[Sequence[Path]], None] = lambda paths: None,
        *,
        real_time: bool = False,
    ) -> None:
        self._on_pictures = on_pictures
        self.activities: list[tuple[float, str]] = [(0.0, "opening")]
        self._changed = threading.Condition()
        self._pictures: dict[tuple[int, int], Path] = {}
        self._submitted: set[int] = set()
        self._last: Failed | Finished | None = None
        self._idle, self._leaving, self._real_time = False, False, real_time
        self._begun = time.monotonic()

    # -- the engine's side --

    def hear(self, event: Event) -> None:
        """Handle an event of the engine."""
        paths = [Path(path) for path in event.paths] if isinstance(event, ImagesReady) else []
        if paths:
            self._on_pictures(paths)
        with self._changed:
            match event:
                case ImagesReady(round=round, indices=indices):
                    places = [(round, image) for image in indices]
                    self._pictures |= dict(zip(places, paths, strict=True))
                case Failed() | Finished():
                    self._last = event
            if (activity := begins(event)) not in (None, self.activities[-1][1]):
                self.activities.append((self.now(), str(activity)))
            self._changed.notify_all()

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Wait until the user submits the round. StopRequested if they leave."""
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: round in self._submitted or self._leaving)
            self._idle = False
            if self._leaving:
                raise StopRequested

    # -- the user's side --

    def now(self) -> float:
        """Seconds since the engine was started, skipped ones included."""
        return time.monotonic() - self._begun

    def picture(self, round: int, image: int) -> Path:
        """Wait for the picture; returns its path. HeroError if the engine ends before."""
        with self._changed:
            self._changed.wait_for(lambda: (round, image) in self._pictures or self._last)
            if (round, image) in self._pictures:
                return self._pictures[round, image]
        raise ended_early(self._last)

    def spend(self, until: float) -> None:
        """Let time pass until `until`; skip the rest once the engine only waits."""
        with self._changed:
            self._changed.wait_for(self._skips, timeout=max(0.0, until - self.now()))
            if self._skips():
                self._begun -= max(0.0, until - self.now())

    def submit(self, round: int) -> None:
        """Tell the engine that the round is submitted in the journal."""
        with self._changed:
            self._submitted.add(round)
            self._idle = False
            self._changed.notify_all()

    def leave(self) -> None:
        """End the session: no further round is submitted."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def _skips(self) -> bool:
        return self._idle and not self._real_time


def ended_early(last: Failed | Finished | None) -> HeroError:
    """Why there are no more pictures."""
    if isinstance(last, Failed):
        return HeroError(last.message, exit_code=last.exit_code)
    return HeroError("the engine ended before the session", exit_code=ExitCode.FAILED)


class JudgeVerdicts:
    """The labelling judge's verdict on each picture; the judge is opened for the first one.

    It runs in the engine thread: a second thread that calls torch would halve the engine's speed,
    since OpenMP then puts its threads to sleep between loops.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._name = task, judged(task)
        self._verdicts: dict[Path, Verdict] = {}

    def read(self, paths: Sequence[Path]) -> None:
        """Judge these pictures."""
        images, wanted = read_pictures(dict(enumerate(paths))), criterion(self._task)
        good = self._judge.success(self._name, images, wanted)
        probabilities = self._judge.success_probability(self._name, images, wanted)
        seen = zip(paths, good, probabilities, strict=True)
        self._verdicts |= {path: (bool(label), float(p)) for path, label, p in seen}

    def verdict(self, path: Path) -> Verdict:
        """The verdict on a picture that was read."""
        return self._verdicts[path]

    @cached_property
    def _judge(self) -> Judge:
        from hero_engine.embedded.judge import Judge

        return Judge.open("labeller")


def begins(event: Event) -> str | None:
    """The step that begins with this event, if any."""
    match event:
        case PhaseStarted(phase=phase):
            return PHASES.get(phase, phase)
        case Progress(step="embed", done=done, total=total) if done == total:
            return "update"
        case Progress(step="update" | "self_train"):
            return "update"
    return None


def run_session(
    settings: Settings, task: Task, timing: UserTiming, *, real_time: bool = False
) -> SessionTimes:
    """Run `settings.rounds` rounds, labelled by a simulated user with the judge's labels.

    HeroError if the engine fails.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = RunDir.create(Path(folder) / "run", settings, task)
        verdicts = JudgeVerdicts(task)
        engine = TimedEngine(verdicts.read, real_time=real_time)
        worker = EngineThread(run, engine.hear, annotator=engine)
        with Journal(run.journal_path) as journal:
            person = SimulatedUser(
                LabellingRound(journal, run.path), engine, verdicts.verdict, timing
            )
            worker.start()
            try:
                person.label_rounds(settings.rounds, settings.batch)
            finally:
                engine.leave()
                worker.send(Stop())
                worker.join()
        person.times.activities = engine.activities
        return person.times
