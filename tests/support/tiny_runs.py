"""Runs small enough for a test: settings, an annotator that reads a script, what a run leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hero_engine.config.settings import (
    EmbeddingSettings,
    LoraSettings,
    RewardSettings,
    SamplerSettings,
    SelfTrainingSettings,
    Settings,
)
from hero_engine.config.tasks import Task
from hero_engine.config.update_settings import (
    D3poSettings,
    DdpoSettings,
    ForwardSettings,
    SftSettings,
)
from hero_engine.core.events import Event, Finished, RoundFinished
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Mark, MarkValue, RoundMarks
from hero_engine.labelling.annotators import Annotator, Pictures
from hero_engine.storage.atomic_files import read_tensors
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.run import Run
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer
from hero_engine.updates import Feedback, NoSignal, UpdateId, UpdateTask

TASK = Task("tiny", "a", judge="hands")
VALUES: dict[str, MarkValue] = {"g": "good", "b": "bad", "*": "best"}
UPDATES = ("ddpo", "forward")
LINES = ("*gbg.b", "bg*bbb")
"""A `Script` of two rounds from which everything learns."""


PLUS: dict[str, Any] = {
    "embedding": EmbeddingSettings(kind="backbone", history="all"),
    "reward": RewardSettings(kind="probability"),
    "self_training": SelfTrainingSettings(rounds=2, images=4),
}
"""What preset hero+ does, for `tiny_settings`."""

JOINT: dict[str, Any] = PLUS | {
    "self_training": SelfTrainingSettings(kind="joint", rounds=1, images=4, base_images=6),
    "forward": ForwardSettings(
        steps=2,
        good_images_per_update=2,
        bad_images_per_update=2,
        decay_learning_rate=True,
        weight_average=0.9,
    ),
}
"""What preset joint does."""


def tiny_settings(model: Path, **changes: Any) -> Settings:
    """Six pictures a round in microbatches of three; two steps of everything."""
    tiny: dict[str, Any] = {
        "task": TASK.name,
        "prompt": TASK.prompt,
        "model": str(model),
        "batch": 6,
        "microbatch": 3,
        "labels": 11,
        "seed": 5,
        "sampler": SamplerSettings(steps=2, guidance=2.0),
        "lora": LoraSettings(rank=2, alpha=3, targets=("to_q", "conv")),
        "embedding": EmbeddingSettings(
            channels=(4, 8), features=16, head=(8,), epochs=2, learning_rate=1e-2
        ),
        "ddpo": DdpoSettings(steps_per_image=2, images_per_update=3, microbatch=3, clip_range=0.1),
        "forward": ForwardSettings(steps=2, good_images_per_update=2, bad_images_per_update=2),
        "d3po": D3poSettings(steps_per_image=2, pairs=2),
        "sft": SftSettings(steps=2, images_per_update=2),
    }
    return Settings(**(tiny | changes))


def new_run(path: Path, settings: Settings) -> RunDir:
    """A run's folder, nothing done yet."""
    return RunDir.create(path, settings, TASK)


class Script:
    """Labels by a line a round, the last for all that follow: g good, * best, b bad, . none.

    Asks for a stop before it marks, and once more before it submits.
    """

    def __init__(self, *lines: str, raise_if_stopped: Callable[[], None] = lambda: None) -> None:
        self.lines, self.raise_if_stopped = lines, raise_if_stopped

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Mark the round's pictures and submit."""
        line = self.lines[min(round, len(self.lines) - 1)]
        assert list(pictures) == list(range(len(line)))
        self.raise_if_stopped()
        marks = [Mark(image, VALUES[sign]) for image, sign in enumerate(line) if sign != "."]
        journal.mark(round, marks, source="script")
        self.raise_if_stopped()
        journal.submit(round)


def go(
    folder: RunDir,
    annotator: Annotator,
    *,
    emit: Callable[[Event], None] = lambda event: None,
    raise_if_stopped: Callable[[], None] = lambda: None,
    more_rounds: int | None = None,
    trainer: Trainer | None = None,
) -> tuple[State, Finished]:
    """Open the run as if in a new process, and let it run to its end; what was learned."""
    trainer = trainer or Trainer.open(folder.settings, "cpu")
    with Journal(folder.journal_path) as journal:
        run = Run(
            folder,
            journal,
            trainer,
            annotator,
            emit=emit,
            raise_if_stopped=raise_if_stopped,
            more_rounds=more_rounds,
        )
        finished = run.run()
        return run.state, finished


def played(folder: RunDir, *lines: str) -> tuple[list[RoundFinished], State]:
    """Go on until there are as many rounds as lines; the new reports, and what was learned."""
    events: list[Event] = []
    more = len(lines) - folder.opened().round
    state, _ = go(folder, Script(*lines), emit=events.append, more_rounds=more)
    return [event for event in events if isinstance(event, RoundFinished)], state


def first_lesson(
    trainer: Trainer, signs: str = "*.bgbb"
) -> tuple[LabelledRound, State, UpdateTask]:
    """A sampled and labelled first round, the state after it, and its update."""
    settings = trainer.settings
    start = trainer.initial_state()
    batch, _ = trainer.sample(start.lora, trainer.round_request(0, start.priors), 3)
    marks = [Mark(image, VALUES[sign]) for image, sign in enumerate(signs) if sign != "."]
    round = LabelledRound(0, batch, RoundMarks.replayed(6, marks).labels())
    state = start.with_labels(round)
    lesson = trainer.update.lesson(Feedback(round, state.memory, torch.linspace(0, 1, 6)))
    assert not isinstance(lesson, NoSignal), lesson.reason
    return round, state, UpdateTask(lesson, UpdateId(settings.seed, 0), batch)


def left_behind(folder: RunDir) -> dict[str, bytes]:
    """Every picture and every tensor on the disk, byte by byte."""
    files = [*folder.path.rglob("*.png"), *folder.path.rglob("*.safetensors")]
    return {str(file.relative_to(folder.path)): file.read_bytes() for file in sorted(files)}


def latents(folder: RunDir, round: int) -> dict[str, Tensor]:
    """A finished round's noises and latents."""
    return read_tensors(folder.path / f"rounds/r{round:03}/latents.safetensors")
