"""A run without the app: labels from a judge or a file, a line of JSON per round on stdout."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from hero_engine.config.prompts import read_size
from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task, task_of_prompt
from hero_engine.core.errors import ExitCode, LabelsNeeded, StopRequested
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    Notice,
    Preflight,
    Progress,
    RoundFinished,
    RunOpened,
    Stop,
)
from hero_engine.core.numbering import counted, round_name
from hero_engine.embedded import check_size
from hero_engine.labelling.annotators import (
    Annotator,
    ExternalAnnotator,
    FileAnnotator,
    JudgeAnnotator,
    SimulatedAnnotator,
    judged,
    waiting,
)
from hero_engine.labelling.judge_source import is_own_judge, read_judge_source
from hero_engine.labelling.labels_file import read_labels
from hero_engine.labelling.simulated import is_judge, read_annotator_model
from hero_engine.models.model_sources import find_judge
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.output_streams import NobodyReads, data, forget_stdout, progress_bar, talk
from hero_tui.session.preflight_words import preflight_line

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
MakeLabeller = Callable[[RunDir], Annotator]


@dataclass(frozen=True)
class Limits:
    """When to stop before the end of the run; None: never."""

    seconds: float | None = None
    rounds: int | None = None


def labeller_for(
    labels: str | None, task: Task, settings: Settings, *, force: bool
) -> MakeLabeller:
    """The source that `--labels` names: a judge (embedded or custom), a file, or None or
    "none" for `hero label`.

    HeroError if there is no such source, before anything is written or opened.
    """
    if labels is None or labels == "none":
        return ExternalAnnotator
    if is_judge(labels):
        model = read_annotator_model(labels)
        for prompt in settings.plan.prompts:
            judged(task_of_prompt(task, prompt))
            model.wanted(task_of_prompt(task, prompt))
        width, height = settings.size
        for size in map(read_size, settings.sizes):
            check_size(*size)
        if width or height:
            check_size(width or height, height or width)
        find_judge("labeller")
        return lambda folder: SimulatedAnnotator(
            folder.task, model, folder.settings.seed, folder.settings.plan
        )
    if is_own_judge(labels):
        source = read_judge_source(labels)
        return lambda folder: JudgeAnnotator(source, folder.settings.plan)
    found = read_labels(Path(labels), settings.batch, settings.plan)
    return lambda folder: FileAnnotator(found, folder, force=force, warn=talk)


def run_headless(
    folder: RunDir,
    make_labeller: MakeLabeller,
    limits: Limits,
    more_rounds: int | None,
    *,
    processes: int = 1,
) -> int:
    """Run until the end, a signal, a limit or an error; returns the exit code."""
    with stopped_by_signals() as stops, stops.after(limits.seconds):
        report = Report(stops, limits.rounds)
        with closing(report):
            labeller = make_labeller(folder)
            worker = EngineThread(
                folder, report, annotator=labeller, more_rounds=more_rounds, processes=processes
            )
            if isinstance(labeller, JudgeAnnotator):
                labeller.raise_if_stopped = worker.raise_if_stopped
            stops.reach(worker)
            worker.run()
    return report.exit_code


def wait_for_labels(folder: RunDir) -> int | None:
    """The exit code if a round waits for labels, else None. Opens no model."""
    at = folder.waiting()
    if at is None:
        return None
    report = Report(Stops(), None)
    with folder.lock(), Journal(folder.journal_path) as journal:
        pictures = {image: folder.path / p for image, p in journal.images(at).items()}
        seen, note = folder.opened(), waiting(folder, at, pictures)
    report(Finished(seen.run, at, seen.labels_used, LabelsNeeded.reason, note))
    return report.exit_code


class Stops:
    """Asks the engine to stop: on a signal, after a time, after a number of rounds.

    While a judge is opened there is no worker yet; it is asked as soon as there is one.
    """

    def __init__(self) -> None:
        self.why, self.interrupted = "", False
        self._worker: EngineThread | None = None

    def ask(self, why: str) -> None:
        """Stop at the next safe point; the first reason is reported."""
        self.why = self.why or why
        if self._worker is not None:
            self._worker.send(Stop())

    def reach(self, worker: EngineThread) -> None:
        """Set the worker that a stop is sent to."""
        self._worker = worker
        if self.why:
            worker.send(Stop())

    def leave_opening(self) -> None:
        """StopRequested while the worker opens the model in this thread: nothing is lost, and the
        next safe point is far."""
        if self._worker is not None and self._worker.opening:
            raise StopRequested

    @contextmanager
    def after(self, seconds: float | None) -> Iterator[None]:
        """Request a stop after this many seconds, unless the block has ended."""
        if seconds is None:
            yield
            return
        timer = threading.Timer(seconds, self.ask, (f"--max-seconds {seconds:g}",))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def stopped_by_signals() -> Iterator[Stops]:
    """The first signal asks for a stop; a second one ends the process. The run stays resumable."""
    stops = Stops()

    def stop(number: int, frame: FrameType | None) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        stops.interrupted = number == signal.SIGINT
        stops.ask(signal.Signals(number).name)
        stops.leave_opening()

    before = {each: signal.getsignal(each) for each in SIGNALS}
    for each in SIGNALS:
        signal.signal(each, stop)
    try:
        yield stops
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Report:
    """Prints the engine's events: rounds and the end on stdout, messages and a bar on stderr."""

    def __init__(self, stops: Stops, max_rounds: int | None) -> None:
        self.exit_code = 0
        self._stops, self._max_rounds, self._rounds = stops, max_rounds, 0
        self._stdout_open = True
        self._bar = ExitStack()
        self._step: tuple[int, str] | None = None

    def __call__(self, event: Event) -> None:
        """Print an event. StopRequested if the reader of stdout has gone."""
        match event:
            case Progress():
                self._show(event)
            case RunOpened():
                talk(f"{event.task} with {event.model}: {event.run}")
            case Preflight():
                talk(preflight_line(event))
            case RoundFinished():
                self.close()
                share = f"{event.good} of {event.labels} good"
                talk(f"{round_name(event.round)}: {share}{event.note and '; ' + event.note}")
                self._line(event.to_json())
                self._count_round()
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
        """Remove the bar."""
        self._bar.close()
        self._step = None

    def _count_round(self) -> None:
        self._rounds += 1
        if self._rounds == self._max_rounds:
            self._stops.ask(f"--max-rounds {self._max_rounds}")

    def _end(self, event: Finished) -> None:
        if event.reason == "stopped":
            event = replace(event, note=event.note or self._stops.why)
            self.exit_code = self._code_of_stop()
            why = f" ({event.note})" if event.note else ""
            talk(f"stopped{why}. Continue with: hero resume {event.run}")
        elif event.reason == LabelsNeeded.reason:
            self.exit_code = ExitCode.LABELS
            talk(f"{round_name(event.rounds)} waits for labels: {event.note}")
        else:
            talk(
                f"finished: {event.labels} labels in {counted(event.rounds, 'round')}: {event.run}"
            )
        if self._stdout_open:
            self._line(event.to_json())

    def _code_of_stop(self) -> ExitCode:
        return ExitCode.INTERRUPTED if self._stops.interrupted else ExitCode.RESUMABLE

    def _show(self, event: Progress) -> None:
        if not sys.stderr.isatty():
            return
        if self._step != (event.round, event.step):
            self.close()
            self._step = (event.round, event.step)
            label = f"{round_name(event.round)} {event.step}"
            self._tick = self._bar.enter_context(progress_bar(label))
        self._tick(event.done, event.total)

    def _line(self, text: str) -> None:
        try:
            data(text)
        except (NobodyReads, OSError) as error:
            self._stdout_open = False
            forget_stdout()
            raise StopRequested("nobody reads the output any more") from error
