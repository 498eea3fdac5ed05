"""The engine's thread: commands in, events out, errors told as events. The loop knows no thread."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from hero_engine.errors import HeroError, StopRequested
from hero_engine.labellers import Labeller, PersonLabeller
from hero_engine.protocol import Command, Event, Failed, Finished, Stop, SubmitLabels
from hero_engine.rundir import RunDir

MakeLabeller = Callable[[Callable[[int], None]], Labeller]
"""Makes the labeller from a function that waits until a round is submitted."""
POLL = 0.1
INTERNAL = 1


class EngineWorker(threading.Thread):
    """Opens the model and runs the loop. Tell it things with ``send``; it tells ``report``.

    The last event is always ``Finished`` or ``Failed``. ``report`` is called from this thread.
    """

    def __init__(
        self,
        run: RunDir,
        report: Callable[[Event], None],
        *,
        rounds: int | None = None,
        make_labeller: MakeLabeller = PersonLabeller,
        device: str = "auto",
    ) -> None:
        super().__init__(name="hero-engine", daemon=True)
        self.run_dir, self.report, self.rounds = run, report, rounds
        self._make_labeller, self._device = make_labeller, device
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def send(self, command: Command) -> None:
        """Hand over a command; returns at once, from any thread or signal handler."""
        if isinstance(command, Stop):
            self._stopping.set()
        self._commands.put(command)

    def run(self) -> None:
        """The thread: run the loop, and turn whatever happens into the last event."""
        try:
            self.report(self._work())
        except StopRequested:
            self.report(self._stopped())
        except HeroError as error:
            self.report(Failed(error.message, error.exit_code))
        except Exception as error:
            # The one place where any error is caught: the person gets a line, the log the trace.
            self._log(traceback.format_exc())
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            self.report(Failed(f"{told} (see {self.run_dir.path / 'hero.log'})", INTERNAL))

    def safe_point(self) -> None:
        """Raises ``StopRequested`` once a stop was asked for."""
        if self._stopping.is_set():
            raise StopRequested

    def wait_for_labels(self, round: int) -> None:
        """Block until the round is submitted; ``StopRequested`` where a stop comes first."""
        while True:
            self.safe_point()
            try:
                command = self._commands.get(timeout=POLL)
            except queue.Empty:
                continue
            if command == SubmitLabels(round):
                return

    def _work(self) -> Finished:
        from hero_engine.loop import Loop
        from hero_engine.pipeline import open_model

        with ExitStack() as stack:
            stack.enter_context(self.run_dir.lock())
            settings = self.run_dir.settings
            model = open_model(settings.model, settings.lora, self._device, seed=settings.seed)
            self.safe_point()
            labeller = self._make_labeller(self.wait_for_labels)
            loop = Loop(self.run_dir, model, labeller, self.report, self.safe_point)
            stack.callback(loop.journal.close)
            finished = loop.run(self.rounds)
            self.run_dir.add_event(finished.to_json())
            return finished

    def _stopped(self) -> Finished:
        status = self.run_dir.status()
        event = Finished(
            str(self.run_dir.path),
            int(status.get("round", 0)),
            int(status.get("labels", 0)),
            "stopped",
        )
        self.run_dir.add_event(event.to_json())
        return event

    def _log(self, text: str) -> None:
        with Path(self.run_dir.path / "hero.log").open("a", encoding="utf-8") as file:
            file.write(text)
