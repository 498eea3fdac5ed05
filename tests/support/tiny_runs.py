"""Runs small enough for a test: settings, a labeller that reads a script, what a run leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from hero_engine.config.settings import (
    D3poSettings,
    DdpoSettings,
    EmbeddingSettings,
    ForwardSettings,
    LoraSettings,
    RewardSettings,
    SamplerSettings,
    SelfTrainingSettings,
    Settings,
    SftSettings,
)
from hero_engine.config.tasks import Task
from hero_engine.core.events import Event, Finished, RoundFinished
from hero_engine.labelling.annotators import Labeller, Pictures
from hero_engine.storage.atomic_files import read_tensors
from hero_engine.storage.journal import Journal, Mark, Value
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.loop import Run
from hero_engine.training.state import Learner

TASK = Task("tiny", "a", judge="hands")
VALUES: dict[str, Value] = {"g": "good", "b": "bad", "*": "best"}
UPDATES = ("ddpo", "forward")
LINES = ("*gbg.b", "bg*bbb")
"""A `Script` of two rounds from which everything learns."""


PLUS: dict[str, Any] = {
    "embedding": EmbeddingSettings(kind="backbone", history="all"),
    "reward": RewardSettings(kind="probability"),
    "self_training": SelfTrainingSettings(rounds=2, images=4),
}
"""What preset hero+ does, for `tiny_settings`."""


def tiny_settings(model: Path, **changes: Any) -> Settings:
    """Six pictures a round in minibatches of three; two steps of everything."""
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

    def __init__(self, *lines: str, check_stop: Callable[[], None] = lambda: None) -> None:
        self.lines, self.check_stop = lines, check_stop

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Mark the round's pictures and submit."""
        line = self.lines[min(round, len(self.lines) - 1)]
        assert list(pictures) == list(range(len(line)))
        self.check_stop()
        marks = [Mark(image, VALUES[sign]) for image, sign in enumerate(line) if sign != "."]
        journal.mark(round, marks, source="script")
        self.check_stop()
        journal.submit(round)


def go(
    folder: RunDir,
    labeller: Labeller,
    *,
    tell: Callable[[Event], None] = lambda event: None,
    check_stop: Callable[[], None] = lambda: None,
    more_rounds: int | None = None,
    learner: Learner | None = None,
) -> tuple[Learner, Finished]:
    """Open the run as if in a new process, and let it run to its end."""
    learner = learner or Learner.open(folder.settings, "cpu")
    with Journal(folder.journal_path) as journal:
        run = Run(
            folder,
            journal,
            learner,
            labeller,
            tell=tell,
            check_stop=check_stop,
            more_rounds=more_rounds,
        )
        return learner, run.run()


def played(folder: RunDir, *lines: str) -> tuple[list[RoundFinished], Learner]:
    """Go on until there are as many rounds as lines; the new reports, and what was learned."""
    events: list[Event] = []
    more = len(lines) - folder.opened().round
    learner, _ = go(folder, Script(*lines), tell=events.append, more_rounds=more)
    return [event for event in events if isinstance(event, RoundFinished)], learner


def left_behind(folder: RunDir) -> dict[str, bytes]:
    """Every picture and every tensor on the disk, byte by byte."""
    files = [*folder.path.rglob("*.png"), *folder.path.rglob("*.safetensors")]
    return {str(file.relative_to(folder.path)): file.read_bytes() for file in sorted(files)}


def latents(folder: RunDir, round: int) -> dict[str, Tensor]:
    """A finished round's noises and latents."""
    return read_tensors(folder.path / f"rounds/r{round:03}/latents.safetensors")
