"""The engine's thread: every end is one event, and the last; a stop is prompt in every phase."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import VALUES, Script, left_behind, new_run, tiny_settings

from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    PhaseStarted,
    Progress,
    RoundFinished,
    RunOpened,
    Stop,
    SubmitLabels,
)
from hero_engine.core.labels import Mark
from hero_engine.labelling.annotators import Pictures
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training import progress_reports as reporting

PROMPT = 20.0
"""Seconds; a stop takes a fraction of one, but the machine may be busy."""


@pytest.fixture
def folder(square_folder: Path, tmp_path: Path) -> RunDir:
    return new_run(tmp_path / "run", tiny_settings(square_folder, update="forward", labels=6))


class Person:
    """Labels from a thread of their own, and may ask for a stop at some event."""

    def __init__(self, folder: RunDir, stop_at: Callable[[Event], bool] = lambda _: False) -> None:
        self.folder, self.stop_at = folder, stop_at
        self.events: list[Event] = []
        self.worker = EngineThread(folder, self.hear, device="cpu")
        self.helpers: list[threading.Thread] = []
        self.submitted: dict[int, float | None] = {}

    def hear(self, event: Event) -> None:
        """Called from the engine's thread."""
        assert threading.current_thread() is self.worker
        self.events.append(event)
        if self.stop_at(event):
            self.meanwhile(self.worker.send, Stop())
            self.helpers[-1].join()
        elif isinstance(event, PhaseStarted) and event.phase == "labelling":
            self.meanwhile(self.label, event.round)

    def meanwhile(self, act: Callable[..., None], *what: Any) -> None:
        """From another thread."""
        self.helpers.append(threading.Thread(target=act, args=what))
        self.helpers[-1].start()

    def label(self, round: int) -> None:
        """Write marks and submit; send a command for another round, which is ignored, and ours."""
        with Journal(self.folder.journal_path) as journal:
            marks = [Mark(image, VALUES[sign]) for image, sign in enumerate("*gbgbb")]
            journal.mark(round, marks, source="person")
            self.worker.send(SubmitLabels(round + 1))
            journal.submit(round)
            self.submitted[round] = journal.rounds()[round].submitted
        self.worker.send(SubmitLabels(round))

    def play(self) -> Event:
        """Start, wait, return the last event."""
        self.worker.start()
        self.worker.join(PROMPT)
        assert not self.worker.is_alive()
        for helper in self.helpers:
            helper.join()
        ends = [isinstance(event, Finished | Failed) for event in self.events]
        assert ends.count(True) == 1 and ends[-1]
        return self.events[-1]


def test_a_person_labels_from_another_thread(folder: RunDir) -> None:
    person = Person(folder)
    before = folder.opened()
    assert person.play() == Finished(str(folder.path), 1, 6, "budget")
    assert person.events[0] == before
    assert folder.status()["state"] == "finished"
    assert not folder.in_use()
    assert not (folder.path / "hero.log").exists()
    with Journal(folder.journal_path) as journal:
        assert journal.rounds()[0].submitted == person.submitted[0]


def opened(event: Event) -> bool:
    return isinstance(event, RunOpened)


def phase(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, PhaseStarted) and event.phase == name


def step(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Progress) and event.step == name


@pytest.mark.parametrize(
    ("stop_at", "reached"),
    [
        (opened, ""),
        (phase("sampling"), "sampling"),
        (step("sample"), "sampling"),
        (phase("labelling"), "labelling"),
        (phase("training"), "training"),
        (step("embed"), "training"),
        (step("update"), "training"),
    ],
    ids=["opened", "sampling", "sample", "labelling", "training", "embed", "update"],
)
def test_a_stop_in_every_phase(
    folder: RunDir,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: Callable[[Event], bool],
    reached: str,
) -> None:
    """Only the end follows it; the run then resumes from there."""
    monkeypatch.setattr(reporting, "REPORT_INTERVAL", 0.0)
    person = Person(folder, stop_at)
    assert person.play() == Finished(str(folder.path), 0, 0, "stopped")
    assert stop_at(person.events[-2])
    assert folder.status()["state"] == "stopped"
    with Journal(folder.journal_path) as journal:
        assert journal.current() == ((0, reached) if reached else None)
    again = Person(folder)
    assert again.play() == Finished(str(folder.path), 1, 6, "budget")


def test_a_stop_before_the_start(folder: RunDir) -> None:
    person = Person(folder)
    person.worker.send(Stop())
    assert person.play() == Finished(str(folder.path), 0, 0, "stopped")
    assert len(person.events) == 1


class Raises:
    """A labeller that ends badly."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Raise."""
        raise self.error


def end_of(folder: RunDir, error: BaseException) -> Event:
    """How a worker ends whose labeller raises; in this thread, as without a terminal."""
    events: list[Event] = []
    EngineThread(folder, events.append, annotator=Raises(error), device="cpu").run()
    ends = [isinstance(event, Finished | Failed) for event in events]
    assert ends.count(True) == 1 and ends[-1]
    return events[-1]


def test_a_labeller_may_stop_and_say_why(folder: RunDir) -> None:
    end = end_of(folder, StopRequested("no labels for round 0"))
    assert end == Finished(str(folder.path), 0, 0, "stopped", "no labels for round 0")


def test_a_fault_goes_to_the_log_and_one_line_to_the_user(
    folder: RunDir, capfd: pytest.CaptureFixture[str]
) -> None:
    end = end_of(folder, RuntimeError("seven\nunder the bed"))
    log = folder.path / "hero.log"
    assert end == Failed(f"RuntimeError: seven (traceback in {log})", 1)
    text = log.read_text("utf-8")
    assert text.startswith("Traceback") and "under the bed" in text and "in label" in text
    assert "Traceback" not in "".join(capfd.readouterr())
    assert "Traceback" not in (folder.path / "events.jsonl").read_text("utf-8")
    assert folder.status()["state"] == "failed" and "seven" in folder.status()["error"]
    assert end_of(folder, RuntimeError()) == Failed(
        f"RuntimeError: no reason given (traceback in {log})", 1
    )
    assert log.read_text("utf-8").count("Traceback") == 2


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (HeroError("a bad file", exit_code=2), "a bad file", 2),
        (OSError(28, "No space left on device", "/there"), "/there: No space left on device", 3),
        (OSError(28, "No space left on device"), "{run}: No space left on device", 3),
    ],
)
def test_known_errors_need_no_log(
    folder: RunDir, error: Exception, message: str, code: int
) -> None:
    assert end_of(folder, error) == Failed(message.format(run=folder.path), code)
    assert not (folder.path / "hero.log").exists()


def test_memory_short_with_nothing_to_halve_exits_with_3(
    folder: RunDir,
) -> None:
    end = end_of(folder, RuntimeError("CUDA out of memory. Tried to allocate 9 GiB\nand more"))
    assert isinstance(end, Failed) and end.exit_code == 3
    assert end.message.startswith("RuntimeError: CUDA out of memory. Tried to allocate 9 GiB (")


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    folder = new_run(tmp_path / "run", tiny_settings(tmp_path / "nowhere"))
    end = Person(folder).play()
    assert isinstance(end, Failed) and end.exit_code == 3


def test_a_run_has_one_worker(folder: RunDir) -> None:
    """The second leaves it as it is: what the first tells is not written over."""
    with folder.lock():
        end = Person(folder).play()
    assert isinstance(end, Failed) and end.exit_code == 4
    assert "in use" in end.message
    assert not (folder.path / "status.json").exists() and not left_behind(folder)
    assert isinstance(Person(folder).play(), Finished)


@pytest.mark.parametrize("file", ["events.jsonl", "status.json.tmp"])
def test_the_end_is_reported_even_if_it_cannot_be_written(folder: RunDir, file: str) -> None:
    """A full disk, say: here a folder lies in the file's place."""
    (folder.path / file).mkdir()
    end = Person(folder).play()
    assert isinstance(end, Failed) and end.exit_code == 3
    assert str(folder.path) in end.message


def test_a_log_that_cannot_be_written_hides_no_fault(folder: RunDir) -> None:
    (folder.path / "hero.log").mkdir()
    end = end_of(folder, RuntimeError("seven"))
    assert isinstance(end, Failed) and end.exit_code == 1
    assert end.message.startswith("RuntimeError: seven")


def test_a_run_stops_if_nobody_reads_its_output(folder: RunDir) -> None:
    """As when stdout is closed: raised where a round is told, or at the very end."""
    for last in (RoundFinished, Finished):
        heard: list[Event] = []

        def hear(event: Event, heard: list[Event] = heard, last: type = last) -> None:
            heard.append(event)
            if isinstance(event, last):
                raise StopRequested("nobody listens")

        EngineThread(folder, hear, annotator=Script("*gbgbb"), device="cpu").run()
        assert isinstance(heard[-1], Finished)
    assert heard[-1] == Finished(str(folder.path), 1, 6, "budget")


@pytest.mark.parametrize("nice", [0, 3])
def test_the_thread_is_as_nice_as_is_wanted(folder: RunDir, nice: int) -> None:
    seen: list[int] = []

    def hear(event: Event) -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        raise StopRequested

    before = os.getpriority(os.PRIO_PROCESS, 0)
    worker = EngineThread(folder, hear, device="cpu", nice=before + nice)
    worker.start()
    worker.join(PROMPT)
    assert set(seen) == {before + nice if sys.platform == "linux" else before}
