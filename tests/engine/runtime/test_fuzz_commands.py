"""Any sequence of marks, submits and stops leaves the run that a plain model predicts."""

import queue
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from interrupted import Process
from tiny_runs import new_run, tiny_settings

from hero_engine.config.settings import EmbeddingSettings, SamplerSettings
from hero_engine.config.update_settings import ForwardSettings
from hero_engine.core.errors import HeroError
from hero_engine.core.events import Event, Failed, Finished, PhaseStarted, Stop, SubmitLabels
from hero_engine.core.labels import Mark
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import Trainer

BATCH, ROUNDS = 2, 2
SMALL = {
    "batch": BATCH,
    "microbatch": BATCH,
    "rounds": ROUNDS,
    "sampler": SamplerSettings(steps=1, guidance=1.0),
    "embedding": EmbeddingSettings(channels=(4,), features=8, head=(8,), epochs=1),
    "forward": ForwardSettings(steps=1, good_images_per_update=1, bad_images_per_update=1),
}
marks = st.tuples(
    st.just("mark"), st.integers(0, BATCH - 1), st.sampled_from(["good", "bad", "clear", "best"])
)
submits = st.tuples(st.just("submit"), st.integers(-1, ROUNDS))
"""Relative to the round that waits: 0 is its own, -1 an old one."""
commands = st.lists(marks | submits | st.just(("stop",)) | st.just(("start",)), max_size=10)


class Session:
    """A person at the engine's thread, and the labels to expect."""

    def __init__(self, folder: RunDir) -> None:
        self.folder, self.round = folder, 0
        self.wanted: list[dict[int, str]] = [{} for _ in range(ROUNDS)]
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.worker: EngineThread | None = None
        self.end: Finished | None = None

    def start(self) -> None:
        """Begin a thread, unless there is one; wait until it wants labels or has ended."""
        if self.worker is None:
            self.worker = EngineThread(self.folder, self.events.put, device="cpu")
            self.worker.start()
            self.listen()

    def listen(self) -> None:
        """Until the engine waits for labels, or has ended."""
        while True:
            event = self.events.get(timeout=120)
            assert not isinstance(event, Failed), event
            if isinstance(event, PhaseStarted):
                self.round = event.round
                if event.phase == "labelling":
                    return
            if isinstance(event, Finished):
                self.end, self.worker = event, self.joined()
                return

    def joined(self) -> None:
        """The thread ends with its last event."""
        assert self.worker is not None
        self.worker.join(60)
        assert not self.worker.is_alive() and self.events.empty() and not self.folder.in_use()

    def mark(self, image: int, value: str) -> None:
        """A mark; refused where the round is submitted."""
        with Journal(self.folder.journal_path) as journal:
            submitted = journal.submitted(self.round)
            try:
                journal.mark(self.round, [Mark(image, value)], source="person")  # type: ignore[arg-type]
            except HeroError as error:
                assert submitted and "labels are final" in error.message
            else:
                assert not submitted
                self.wanted[self.round][image] = value

    def submit(self, which: int) -> None:
        """Submit the waiting round, or another one, which has no effect."""
        if self.worker is None:
            return
        if which == 0:
            with Journal(self.folder.journal_path) as journal:
                journal.submit(self.round)
        self.worker.send(SubmitLabels(self.round + which))
        if which == 0:
            self.listen()

    def stop(self) -> None:
        """Request a stop, and wait for it."""
        if self.worker is not None:
            self.worker.send(Stop())
            self.listen()
            assert self.end is not None and self.end.reason == "stopped"

    def check(self) -> None:
        """Labels are the last marks on each picture, and the figures count them."""
        names = {"good": True, "best": True, "bad": False}
        with Journal.reading(self.folder.journal_path) as journal:
            for round, wanted in enumerate(self.wanted):
                good = journal.labels(round, BATCH).good
                assert good == tuple(names.get(wanted.get(i, "clear")) for i in range(BATCH))
            counts = [row["labels"] for row in journal.metrics()]
        assert counts == [
            sum(value != "clear" for value in wanted.values())
            for wanted in self.wanted[: len(counts)]
        ]


@contextmanager
def one_model(process: Process) -> Iterator[None]:
    """Every thread opens the same model, as it was at the start."""

    def opened(settings: Any, *_: Any) -> Trainer:
        process.model.load_lora_state(process.start)
        return Trainer(settings, process.model)

    with patch.object(Trainer, "open", opened):
        yield


@given(commands)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_any_sequence_of_commands(
    processes: Callable[[str], Process], given: list[tuple[Any, ...]]
) -> None:
    process = processes("forward")
    model = Path(process.folder("straight").settings.model)
    with tempfile.TemporaryDirectory() as folder, one_model(process):
        run = new_run(Path(folder) / "run", tiny_settings(model, update="forward", **SMALL))
        session = Session(run)
        session.start()
        for name, *arguments in given:
            getattr(session, name)(*arguments)
        session.check()
        session.start()
        while session.worker is not None:
            session.submit(0)
        assert session.end == Finished(str(run.path), ROUNDS, session.end.labels, "rounds")
        session.check()
