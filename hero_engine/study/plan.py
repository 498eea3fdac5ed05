"""The trials and baselines of a study, and where each is kept."""

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
from hero_engine.labelling.simulated import is_judge, read_annotator_model
from hero_engine.study.methods import VARIANTS, MethodSpec

TUNING_TASK = Path(__file__).parent / "tuning.toml"
"""The task on which methods are tuned, "tuning" on the command line; it is never reported."""
HYPERPARAMETERS = Path(__file__).parent / "hyperparameters.toml"
"""The values that tuning found for each method."""
FULL = "full"
"""The study that is read from a table by default."""


@dataclass(frozen=True)
class Trial:
    """One run of one method on one task with one seed.

    labels: its budget. changes: the study's settings for all trials.
    """

    task: Task
    method: MethodSpec
    seed: int
    labeller: str
    labels: int
    changes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """File name: task, method, labeller if it is not the plain judge, seed."""
        parts = [self.task.name, self.method.name, self.labeller.removeprefix("judge")]
        return "-".join([*(_plain(part) for part in parts if part), str(self.seed)])

    def settings(self) -> Settings:
        """The preset's, then the study's, then the tuned ones, then the method's own."""
        tuned = {} if self.task.name == TUNING_TASK.stem else tuned_settings(self.method.base)
        changes = merge(merge(self.changes, tuned), self.method.changes)
        changes = merge(changes, {"seed": self.seed})
        return settings_for(self.task, "embedded", "embedded", changes)


@dataclass(frozen=True)
class Baseline:
    """The base model on a task with one sampler. path: where its scores are kept."""

    task: Task
    sampler: SamplerSettings
    path: Path


@dataclass(frozen=True)
class Plan:
    """tasks x methods x seeds, with one labeller.

    labels: budget of each trial whose method names none. every: labels between two scores, of
    `images` pictures each. out: the study's folder, or a table (.csv) to read. study: the rows of
    a table to read. changes: settings of all trials and baselines, over the preset "embedded" and
    under those of the methods. HeroError for an unknown task, labeller or setting.
    """

    tasks: tuple[str, ...]
    methods: tuple[MethodSpec, ...]
    seeds: tuple[int, ...]
    out: Path
    labeller: str = "judge"
    labels: int = 512
    every: int = 64
    images: int = 128
    changes: Mapping[str, Any] = field(default_factory=dict)
    study: str = FULL

    def __post_init__(self) -> None:
        if not is_judge(self.labeller):
            raise HeroError(
                f"--labeller {self.labeller}: a study is labelled by a judge; write judge or, for "
                "a tenth of wrong labels, judge:flip=0.1"
            )
        for name in self.tasks:
            task = study_task(name)
            judged(task)
            read_annotator_model(self.labeller).wanted(task)
        for trial in self.trials():
            trial.settings()

    @property
    def is_table(self) -> bool:
        """True if the figures come from a table, which can only be read."""
        return self.out.suffix == ".csv"

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.out.parent if self.is_table else self.out

    def trials(self) -> Iterator[Trial]:
        """All methods with the first seed, then with the second, so a study cut short is fair."""
        for seed in self.seeds:
            for task in self.tasks:
                for method in self.methods:
                    budget = method.labels or self.labels
                    yield Trial(study_task(task), method, seed, self.labeller, budget, self.changes)

    def run_path(self, trial: Trial) -> Path:
        """The trial's run folder."""
        return self.out / "runs" / trial.name

    def figures_path(self, trial: Trial) -> Path:
        """The trial's labels and scores."""
        return self._inside("trials", "cells") / f"{trial.name}.json"

    def baselines(self) -> dict[str, Baseline]:
        """One for each task and sampler of the trials, by name."""
        folder, taste = (
            self._inside("baselines", "lines"),
            read_annotator_model(self.labeller).picky,
        )
        found = {}
        for trial in self.trials():
            sampler = trial.settings().sampler
            parts = (trial.task.name, sampler_text(sampler), taste)
            name = "-".join(_plain(part) for part in parts if part)
            found[name] = Baseline(trial.task, sampler, folder / f"{name}.json")
        return found

    def _inside(self, name: str, old: str) -> Path:
        """A folder of the study; a study begun by hero 0.1.0 keeps the old name."""
        before = self.out / old
        return before if before.is_dir() else self.out / name


def sampler_text(sampler: SamplerSettings) -> str:
    """ "20 steps, eta 0.5, guidance 1"."""
    return f"{sampler.steps} steps, eta {sampler.eta:g}, guidance {sampler.guidance:g}"


@cache
def tuned_settings(method: str) -> dict[str, Any]:
    """The tuned values of a method; an ablation has those of `hero`."""
    table = read_toml(HYPERPARAMETERS)
    return with_new_names(table.get("hero" if method in VARIANTS else method, {}))


def study_task(name: str) -> Task:
    """A task by name, by file, or "tuning"."""
    return read_task(TUNING_TASK) if name == "tuning" else load_task(name)


def _plain(text: str) -> str:
    """Letters, digits, dots and minus signs only; hero+ becomes hero-plus."""
    text = text.replace("hero+", "hero-plus")
    return "".join(each if each.isalnum() or each in ".-" else "_" for each in text).strip("_")
