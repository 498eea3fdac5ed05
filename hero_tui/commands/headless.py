"""A run without the app: labels from a judge or a file, one line of JSON a round on stdout."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from hero_engine.errors import ExitCode, HeroError, StopRequested
from hero_engine.labellers import FileLabeller, JudgeLabeller, Labeller, judged
from hero_engine.protocol import (
    Event,
    Failed,
    Finished,
    Notice,
    Progress,
    RoundFinished,
    RunOpened,
    Stop,
)
from hero_engine.rundir import RunDir
from hero_engine.sources import find_judge
from hero_engine.tasks import Task
from hero_engine.worker import EngineWorker
from hero_tui.commands.output import NobodyReads, data, forget_stdout, progress_bar, talk

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check_labels(labels: str | None, task: Task, batch: int) -> None:
    """HeroError where the labels cannot be had; before anything is written or opened."""
    if labels is None:
        raise HeroError("--headless needs --labels judge or --labels FILE.jsonl")
    if labels == "judge":
        judged(task)
        find_judge("labeller")
    else:
        FileLabeller(Path(labels), batch)


def run_headless(folder: RunDir, labels: str, more_rounds: int | None) -> int:
    """Work until the end, a signal, or an error; returns the exit code."""
    report = Report()
    with ExitStack() as stack:
        stack.callback(report.close)
        told = stack.enter_context(stopped_by_signals())
        worker = EngineWorker(
            folder,
            report,
            labeller=make_labeller(labels, folder),
            more_rounds=more_rounds,
        )
        told(worker)
        worker.run()
    return report.exit_code


def make_labeller(labels: str, folder: RunDir) -> Labeller:
    """The labeller that `--labels` names."""
    if labels == "judge":
        return JudgeLabeller(folder.task)
    return FileLabeller(Path(labels), folder.settings.batch)


@contextmanager
def stopped_by_signals() -> Iterator[Callable[[EngineWorker], None]]:
    """The first signal asks for a stop; a second one ends the process (the run stays resumable).

    Yields what takes the worker to stop; opening a judge takes seconds in which it is not there.
    """
    workers: list[EngineWorker] = []
    seen: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        seen.append(number)
        for worker in workers:
            worker.send(Stop())

    def tell(worker: EngineWorker) -> None:
        workers.append(worker)
        if seen:
            worker.send(Stop())

    before = {each: signal.getsignal(each) for each in SIGNALS}
    for each in SIGNALS:
        signal.signal(each, stop)
    try:
        yield tell
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Report:
    """Takes the engine's events: rounds and the end to stdout, talk and a bar to stderr."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._stdout_open = True
        self._bar = ExitStack()
        self._step: tuple[int, str] | None = None

    def __call__(self, event: Event) -> None:
        """Tell one event. StopRequested where nobody reads stdout."""
        match event:
            case Progress():
                self._show(event)
            case RunOpened():
                talk(f"{event.task} with {event.model}: {event.run}")
            case RoundFinished():
                self.close()
                share = f"{event.good} of {event.labels} good"
                talk(f"round {event.round}: {share}{event.note and '; ' + event.note}")
                self._line(event.to_json())
            case Notice():
                self.close()
                talk(event.message)
            case Finished():
                self.close()
                self._end(event)
            case Failed():
                self.close()
                self.exit_code = event.exit_code
                talk(event.message)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
        self._step = None

    def _end(self, event: Finished) -> None:
        if event.reason == "stopped":
            self.exit_code = ExitCode.RESUMABLE
            why = f" ({event.note})" if event.note else ""
            talk(f"stopped{why}. Go on with: hero resume {event.run}")
        else:
            talk(f"finished: {event.labels} labels in {event.rounds} rounds: {event.run}")
        if self._stdout_open:
            self._line(event.to_json())

    def _show(self, event: Progress) -> None:
        if not sys.stderr.isatty():
            return
        if self._step != (event.round, event.step):
            self.close()
            self._step = (event.round, event.step)
            label = f"round {event.round} {event.step}"
            self._tick = self._bar.enter_context(progress_bar(label))
        self._tick(event.done, event.total)

    def _line(self, text: str) -> None:
        try:
            data(text)
        except (NobodyReads, OSError) as error:
            self._stdout_open = False
            forget_stdout()
            raise StopRequested("nobody reads the output any more") from error
