"""Runs that are interrupted and resumed, and the proof that nothing changed by it."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import JOINT, LINES, PLUS, Script, go, left_behind

from hero_engine.core.errors import StopRequested
from hero_engine.core.events import Event
from hero_engine.models.pipeline import Model
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.progress_reports import Emit
from hero_engine.training.trainer import Trainer

QUESTIONS, AHEAD_QUESTIONS = 26, 41
"""How often a run of `LINES` asks whether it should stop; and one of three rounds, drawn ahead."""

AHEAD: dict[str, Any] = {"sample_ahead": True, "labels": 17}
"""Settings of the latter."""

KINDS: dict[str, dict[str, Any]] = {"": {}, "ahead": AHEAD, "plus": PLUS, "joint": JOINT}
"""What a run may have besides its update."""


class Crash(BaseException):
    """Nobody catches it."""


def forget(event: Event) -> None:
    pass


class Process:
    """Opens and runs a run as often as a test likes, on one model whose LoRA it sets back."""

    def __init__(self, model: Model, folder: Callable[[str], RunDir]) -> None:
        self.model, self.folder = model, folder
        self.start = model.lora_state()
        self.questions = 0
        """How often the undisturbed run asks whether it should stop."""

    def run(self, name: str, stop_at: int | None = None, emit: Emit = forget) -> int:
        """Go on with a run; the `stop_at`-th question whether to stop is answered yes.

        Returns how many such questions there were.
        """
        asked = 0

        def raise_if_stopped() -> None:
            nonlocal asked
            asked += 1
            if asked == stop_at:
                raise StopRequested

        self.model.load_lora_state(self.start)
        folder = self.folder(name)
        trainer = Trainer(folder.settings, self.model)
        script = Script(*LINES, raise_if_stopped=raise_if_stopped)
        go(folder, script, emit=emit, raise_if_stopped=raise_if_stopped, trainer=trainer)
        return asked

    def crash_after(self, owner: Any, write: str, nth: int) -> str:
        """A run that crashes after the `nth` call of a write to the disk, and is resumed.

        Returns its name.
        """
        name, real, calls = f"{write}-{nth}", getattr(owner, write), count(1)

        def crash(*args: Any, **options: Any) -> None:
            real(*args, **options)
            if next(calls) == nth:
                raise Crash

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
            patch.setattr(owner, write, crash)
            self.run(name)
        self.run(name)
        return name


def assert_same(process: Process, name: str) -> None:
    """Pictures and tensors byte by byte, labels and figures; the clock alone may differ."""
    straight, interrupted = process.folder("straight"), process.folder(name)
    assert left_behind(interrupted) == left_behind(straight)
    assert figures(interrupted) == figures(straight)


def figures(folder: RunDir) -> list[Any]:
    with Journal(folder.journal_path) as journal:
        labels = [journal.labels(round, 6) for round in journal.rounds()]
        return [journal.current(), *labels, *({**row, "seconds": 0} for row in journal.metrics())]


def flip(path: Path, at: float = 0.5) -> None:
    """One bit of a file, at a share of its length."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 4
    path.write_bytes(data)
