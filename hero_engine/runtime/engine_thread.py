"""The engine's thread: commands in, events out, every error an event.

`send` takes commands from any thread, or from a signal handler. A stop takes effect at the next
safe point: a denoising step, an epoch of the embedding, an optimizer step, or a wait for labels.
"""

from __future__ import annotations

import gc
import os
import queue
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hero_engine.config.settings import to_toml
from hero_engine.core.errors import ExitCode, HeroError, StopRequested, is_memory_short
from hero_engine.core.events import Command, Event, Failed, Finished, Notice, Stop
from hero_engine.distributed.launcher import nothing, processes_of
from hero_engine.labelling.annotators import Annotator, PersonAnnotator
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.progress_reports import Emit, RaiseIfStopped, Reporter
from hero_engine.training.trackers import open_tracker

if TYPE_CHECKING:
    from hero_engine.distributed.collectives import Processes
    from hero_engine.training.run import Run

NICE = 5
"""Niceness of the thread, and so of all that its libraries start. Where the kernel shares the cores
out by session, as Linux does on a desktop and over ssh, it holds within this process only;
elsewhere a busy program beside it leaves it little, and `ui.engine_nice` says how much."""

CHECK_SECONDS = 0.5
"""Seconds between two checks of the other processes while a person labels."""

RANK_PROCESS = "hero_engine.runtime.rank_process"
"""Module that the other processes run."""


@dataclass(frozen=True)
class JobContext:
    """Services for a job. `raise_if_stopped` raises StopRequested once a stop was requested."""

    folder: RunDir
    journal: Journal
    reporter: Reporter
    annotator: Annotator
    raise_if_stopped: RaiseIfStopped
    device: str


Job = Callable[[JobContext], Finished]
"""Works on a run's folder from beginning to end; raises StopRequested at a safe point."""


class EngineThread(threading.Thread):
    """Does a job on a run's folder until its end, a stop, or an error.

    deliver: called with every event, from this thread. job: trains the run unless another one is
    given. annotator: a person, who sends SubmitLabels, unless another one is given. more_rounds:
    see `Run`. processes: how many share the work, this one included. nice: the thread's niceness.
    Without a terminal, call `run` itself.

    `opening` is true while the model is opened. That takes seconds and has no safe point, but
    ending the process then loses nothing.
    """

    def __init__(
        self,
        folder: RunDir,
        deliver: Emit,
        *,
        job: Job | None = None,
        annotator: Annotator | None = None,
        more_rounds: int | None = None,
        device: str = "auto",
        processes: int = 1,
        nice: int = NICE,
    ) -> None:
        super().__init__(name="hero-engine", daemon=True)
        self._processes, self._nice, self.opening = processes, nice, False
        self._folder, self._deliver, self._device = folder, deliver, device
        # A SimpleQueue may be put to from a signal handler that interrupts its own get.
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._annotator = annotator or PersonAnnotator(self._receive)
        self._more_rounds = more_rounds
        self._job = job or self._train
        self._stopping = False
        self._watch: RaiseIfStopped = nothing

    def start(self) -> None:
        """Start at a lower priority than the thread that answers keys."""
        super().start()
        if self.native_id is not None and sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.native_id, self._nice)

    def send(self, command: Command) -> None:
        """Hand over a command; returns at once."""
        if isinstance(command, Stop):
            self._stopping = True
        self._inbox.put(command)

    def raise_if_stopped(self) -> None:
        """Raise StopRequested once a stop was requested."""
        if self._stopping:
            raise StopRequested

    def _check(self) -> None:
        """Raise StopRequested, or the error of another process of the run."""
        self.raise_if_stopped()
        self._watch()

    def _receive(self) -> Command:
        """The next command, however long a person takes; `_check` may end the wait."""
        while True:
            self._check()
            with suppress(queue.Empty):
                return self._inbox.get(timeout=CHECK_SECONDS)

    def run(self) -> None:
        """Work; the last event is Finished or Failed."""
        reporter = Reporter(self._folder, self._deliver)
        with suppress(StopRequested):  # the listener is gone, and there is nothing left to stop
            try:
                with self._folder.lock():
                    self._end(reporter, self._work(reporter))
            except HeroError as error:
                self._deliver(Failed(error.message, error.exit_code))

    def _end(self, reporter: Reporter, last: Event) -> None:
        """Record the last event and deliver it; deliver it even where recording fails."""
        try:
            reporter.record(last)
        except OSError as error:
            if not isinstance(last, Failed):
                last = self._failed_to_write(error)
        self._deliver(last)

    def _work(self, reporter: Reporter) -> Event:
        try:
            with Journal(self._folder.journal_path) as journal:
                context = JobContext(
                    self._folder,
                    journal,
                    reporter,
                    self._annotator,
                    self.raise_if_stopped,
                    self._device,
                )
                return self._job(context)
        except StopRequested as stop:
            seen = self._folder.opened()
            return Finished(seen.run, seen.round, seen.labels_used, stop.reason, str(stop))
        except HeroError as error:
            return Failed(error.message, error.exit_code)
        except OSError as error:
            return self._failed_to_write(error)
        except sqlite3.Error as error:
            return Failed(f"{self._folder.journal_path}: {error}", ExitCode.RUN)
        except Exception as error:
            code = ExitCode.ENVIRONMENT if is_memory_short(error) else ExitCode.FAILED
            return Failed(self._noted(error), code)

    def _train(self, context: JobContext) -> Finished:
        self.raise_if_stopped()
        with processes_of(
            self._processes, self._folder.path, RANK_PROCESS, self.raise_if_stopped
        ) as processes:
            self._watch = processes.check
            processes.broadcast({"settings": to_toml(self._folder.settings)})
            return self._run(context.journal, context.reporter, processes).run()

    def _run(self, journal: Journal, reporter: Reporter, processes: Processes) -> Run:
        from hero_engine.models.model_record import record_model
        from hero_engine.training.preflight import preflight
        from hero_engine.training.run import Run
        from hero_engine.training.trainer import Trainer

        reporter.tracker = open_tracker(self._folder)
        self.opening = True
        try:
            trainer = Trainer.open(self._folder.settings, self._device, processes)
            model = trainer.model
            notices = record_model(self._folder, model.fingerprints, model.notices)
        finally:
            self.opening = False
        gc.freeze()  # the model's objects stay: looking through them again holds up every thread
        reporter.emit(self._folder.opened())
        for sentence in (*notices, *self._folder.shortcomings()):
            reporter.emit(Notice(sentence))
        if self._folder.settings.model != "embedded" and journal.current() is None:
            reporter.emit(preflight(trainer, self._check))
        return Run(
            self._folder,
            journal,
            trainer,
            self._annotator,
            emit=reporter.emit,
            raise_if_stopped=self._check,
            more_rounds=self._more_rounds,
        )

    def _failed_to_write(self, error: OSError) -> Failed:
        where = error.filename or self._folder.path
        return Failed(f"{where}: {error.strerror}", ExitCode.ENVIRONMENT)

    def _noted(self, error: Exception) -> str:
        """Put the traceback into the run's log; returns the line for the user."""
        log = self._folder.path / "hero.log"
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        line = f"{type(error).__name__}: {reason}"
        try:
            with log.open("a", encoding="utf-8") as file:
                traceback.print_exception(error, file=file)
        except OSError:
            return line
        return f"{line} (traceback in {log})"
