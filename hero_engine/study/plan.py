"""Which cells a study has, and where each lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hero_engine.config.old_names import with_new_names
from hero_engine.config.settings import SamplerSettings, Settings
from hero_engine.config.tasks import Task, load_task, read_task, settings_for
from hero_engine.config.toml_file import read_toml
from hero_engine.config.validation import merge
from hero_engine.core.errors import HeroError
from hero_engine.labelling.annotators import judged
from hero_engine.labelling.simulated import is_judge, read_habits
from hero_engine.study.methods import VARIANTS, Contender

TUNING = Path(__file__).parent / "tuning.toml"
"""The task kept apart for tuning, "tuning" on the command line; it is never reported."""
TUNED = Path(__file__).parent / "tuned.toml"
"""What tuning there found for each method."""


@dataclass(frozen=True)
class Cell:
    """One run of one method."""

    task: Task
    contender: Contender
    seed: int
    labeller: str
    labels: int
    changes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A file's name: task, method, labeller where it is not the judge, seed."""
        parts = [self.task.name, self.contender.name, self.labeller.removeprefix("judge")]
        return "-".join([*(_plain(part) for part in parts if part), str(self.seed)])

    def settings(self) -> Settings:
        """The run's: the preset's, the study's, those the method was tuned to, its own."""
        tuned = {} if self.task.name == TUNING.stem else tuned_settings(self.contender.method)
        changes = merge(merge(self.changes, tuned), self.contender.changes)
        changes = merge(changes, {"seed": self.seed})
        return settings_for(self.task, "embedded", "embedded", changes)


@dataclass(frozen=True)
class Line:
    """A task and a way of sampling; methods need not share the latter. told: it in words."""

    task: Task
    sampler: SamplerSettings
    told: str
    path: Path


@dataclass(frozen=True)
class Plan:
    """tasks x methods x seeds, with one labeller.

    labels: each run's budget, where its contender has none of its own. every: labels between two
    scorings, of `images` pictures each. out: where all of it is kept. changes: settings of all
    runs and of the lines, over the preset "embedded" and under those of the contenders.
    """

    tasks: tuple[str, ...]
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]
    out: Path
    labeller: str = "judge"
    labels: int = 512
    every: int = 64
    images: int = 128
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_judge(self.labeller):
            raise HeroError(
                f"--labeller {self.labeller}: only a judge labels here (judge:flip=0.1)"
            )
        for name in self.tasks:
            task = study_task(name)
            judged(task)
            read_habits(self.labeller).wanted(task)
        for cell in self.cells():
            cell.settings()

    def cells(self) -> Iterator[Cell]:
        """Every method's first seed before any method's second: a study cut short is fair."""
        for seed in self.seeds:
            for task in self.tasks:
                for each in self.contenders:
                    budget = each.labels or self.labels
                    yield Cell(study_task(task), each, seed, self.labeller, budget, self.changes)

    def run_path(self, cell: Cell) -> Path:
        """The cell's run."""
        return self.out / "runs" / cell.name

    def figures_path(self, cell: Cell) -> Path:
        """The cell's labels and figures."""
        return self.out / "cells" / f"{cell.name}.json"

    def lines(self) -> dict[str, Line]:
        """What there is to know without labels, once for each task and way of sampling."""
        taste = read_habits(self.labeller).picky
        found = {}
        for cell in self.cells():
            sampler = cell.settings().sampler
            told = f"{sampler.steps} steps, eta {sampler.eta:g}, guidance {sampler.guidance:g}"
            name = "-".join(_plain(part) for part in (cell.task.name, told, taste) if part)
            found[name] = Line(cell.task, sampler, told, self.out / "lines" / f"{name}.json")
        return found


@cache
def tuned_settings(method: str) -> dict[str, Any]:
    """What tuning found for a method; an ablation has those of what it is an ablation of."""
    table = read_toml(TUNED)
    return with_new_names(table.get("hero" if method in VARIANTS else method, {}))


def study_task(name: str) -> Task:
    """A task by name, file, or "tuning"."""
    return read_task(TUNING) if name == "tuning" else load_task(name)


def _plain(text: str) -> str:
    """Letters, digits, dots and minus signs only; hero+ is hero-plus."""
    text = text.replace("hero+", "hero-plus")
    return "".join(each if each.isalnum() or each in ".-" else "_" for each in text).strip("_")
