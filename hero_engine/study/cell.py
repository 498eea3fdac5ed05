"""One cell of a study: a run with its labels, scored after every so many of them.

The run is an ordinary one and goes on from its checkpoint; its figures lie beside it and grow by a
point at a time. So a cell that was interrupted loses a round at most, one that is finished is only
read, and one whose budget has grown goes on.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch

from hero_engine import __version__
from hero_engine.config.old_names import flat_with_new_names
from hero_engine.config.settings import Settings
from hero_engine.config.validation import flat
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import Event
from hero_engine.evaluation.divergence import kl_to_base
from hero_engine.evaluation.evaluate import EVALUATION_SEED, Exam, Score
from hero_engine.labelling.annotators import JudgeLabeller
from hero_engine.labelling.simulated import read_habits
from hero_engine.policy.noise_prior import FRESH
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, is_run
from hero_engine.study.plan import Cell, Plan
from hero_engine.training.loop import Run
from hero_engine.training.progress_reports import Reporter
from hero_engine.training.state import Learner

KL_IMAGES = 16
"""Pictures whose chains the divergence is a mean over; each is itself a sum over all elements."""
OnPicture = Callable[[int], None]
OnPoint = Callable[[Cell, dict[str, Any]], None]


class InUse(Exception):  # noqa: N818 - no error: another process works on it
    """The cell belongs to another process at the moment."""


@dataclass
class Watch:
    """Who listens: `pictures` is told how many more were sampled, `point` every new point."""

    pictures: OnPicture = field(default=lambda count: None)
    point: OnPoint = field(default=lambda cell, point: None)


def read_figures(path: Path) -> dict[str, Any]:
    """A cell's figures so far; empty before the first point. HeroError, 4, where damaged."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise HeroError(f"{path} is damaged: {error}", exit_code=ExitCode.RUN) from error


def is_finished(figures: dict[str, Any], cell: Cell) -> bool:
    """Whether the last point is at the cell's budget, and all that comes with it is there."""
    points = figures.get("points", [])
    return bool(points) and points[-1]["labels"] >= cell.labels and "transfer" in figures


def work(plan: Plan, cell: Cell, watch: Watch) -> dict[str, Any]:
    """Bring a cell to its end; returns its figures.

    InUse where another process holds it. HeroError, exit code 4, where it was begun with other
    settings or is scored in another way.
    """
    path = plan.figures_path(cell)
    figures = read_figures(path) or new_figures(plan, cell)
    _check_same(path, figures, new_figures(plan, cell))
    if is_finished(figures, cell):
        return figures
    folder = _folder(plan, cell)
    with _held(folder), Journal(folder.journal_path) as journal:
        _Work(plan, cell, folder, journal, watch, figures).run()
    return read_figures(path)


class _Work:
    """A cell at work; the run's lock is held."""

    def __init__(
        self,
        plan: Plan,
        cell: Cell,
        folder: RunDir,
        journal: Journal,
        watch: Watch,
        figures: dict[str, Any],
    ) -> None:
        self.plan, self.cell, self.folder, self.journal = plan, cell, folder, journal
        self.watch, self.figures = watch, figures
        self.habits = read_habits(cell.labeller)
        self.learner = Learner.open(folder.settings)
        self.loop = Run(
            folder,
            journal,
            self.learner,
            JudgeLabeller(folder.task, self.habits, folder.settings.seed),
            tell=Reporter(folder, self._hear).tell,
            check_stop=lambda: None,
        )

    def run(self) -> None:
        """Rounds and points until the budget is used; then what is asked once."""
        self.figures.pop("transfer", None)  # of a smaller budget
        self._point_if_due()
        while self.loop.labels_used < self.cell.labels:
            self.loop.run_round()
            self.watch.pictures(self.folder.settings.batch)
            self._point_if_due()
        self.figures["transfer"] = self._transfer()
        self._save()

    def _hear(self, event: Event) -> None:
        """Nothing more than what the run keeps of itself."""

    def _point_if_due(self) -> None:
        """A point at each multiple of `every` labels, and at the end of the budget."""
        labels, points = self.loop.labels_used, self.figures["points"]
        last = points[-1]["labels"] if points else 0
        crossed = labels // self.plan.every > last // self.plan.every
        if labels > last and (crossed or labels >= self.cell.labels):
            points.append(self._point(labels))
            self._save()
            self.watch.point(self.cell, points[-1])

    def _point(self, labels: int) -> dict[str, Any]:
        """Scores with fresh and, where the method has it, guided noise; KL to the base."""
        settings, prior = self.folder.settings, self.learner.prior
        guided = prior.guided and settings.noise.fresh_ratio < 1
        fresh = self._score()
        noises = FRESH.draw(
            min(KL_IMAGES, self.plan.images),
            self.learner.model.latent_shape,
            settings.noise,
            EVALUATION_SEED,
            0,
        )
        kl = kl_to_base(
            self.learner.model, settings.prompt, noises, settings.sampler, EVALUATION_SEED
        )
        return {
            "labels": labels,
            "fresh": asdict(fresh),
            "guided": asdict(self._score(guided=True)) if guided else None,
            "base_guided": asdict(self._score(guided=True, base=True))
            if guided and labels >= self.cell.labels
            else None,
            "kl": kl,
        }

    def _score(
        self, *, guided: bool = False, base: bool = False, prompt: str | None = None
    ) -> Score:
        told = 0

        def on_picture(done: int, total: int) -> None:
            nonlocal told
            self.watch.pictures(done - told)
            told = done

        exam = Exam(
            self.folder,
            self.plan.images,
            prompt,
            on_picture,
            learner=self.learner,
            wanted=self.habits.wanted(self.folder.task),
        )
        return exam.score(self.learner.prior if guided else FRESH, base=base)

    def _transfer(self) -> dict[str, Any]:
        """Fresh noise with the task's other prompts, which the run never saw."""
        prompts = self.folder.task.transfer_prompts
        return {prompt: asdict(self._score(prompt=prompt)) for prompt in prompts}

    def _save(self) -> None:
        self.figures["rounds"] = self.journal.metrics()
        self.figures["labels"] = [list(self._labels(each)) for each in range(self.loop.round)]
        path = self.plan.figures_path(self.cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(self.figures, indent=1))

    def _labels(self, round: int) -> Iterator[str]:
        """A letter a picture: g good, b bad, * best, - none."""
        labels = self.journal.labels(round, self.folder.settings.batch)
        letters = {True: "g", False: "b", None: "-"}
        for image, good in enumerate(labels.good):
            yield "*" if image == labels.best else letters[good]


def new_figures(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What is known of a cell before its first round."""
    return {
        "task": cell.task.name,
        "method": cell.contender.name,
        "labeller": cell.labeller,
        "seed": cell.seed,
        "images": plan.images,
        "every": plan.every,
        "evaluation_seed": EVALUATION_SEED,
        "settings": json.loads(json.dumps(flat(asdict(cell.settings())))),
        "made_with": made_with(),
        "points": [],
    }


def made_with() -> dict[str, str]:
    """The machine and the versions."""
    return {
        "hero": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "threads": str(torch.get_num_threads()),
    }


def _check_same(path: Path, kept: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Figures of different making do not mix.

    A setting that came later was not there to differ, and those of another update change nothing.
    """
    others = set(get_args(get_type_hints(Settings)["update"])) - {wanted["settings"]["update"]}
    before, now = (
        {
            **flat_with_new_names(each["settings"]),
            "images": each["images"],
            "every": each.get("every"),
        }
        for each in (kept, wanted)
    )
    changed = [
        name
        for name in now
        if name in before and before[name] != now[name] and name.partition(".")[0] not in others
    ]
    if changed:
        name = changed[0]
        raise HeroError(
            f"{path} was made with {name} = {before[name]!r}, not {now[name]!r}: "
            "choose another --out",
            exit_code=ExitCode.RUN,
        )


def _folder(plan: Plan, cell: Cell) -> RunDir:
    path = plan.run_path(cell)
    if is_run(path):
        return RunDir.open(path)
    return RunDir.create(path, cell.settings(), cell.task)


@contextmanager
def _held(folder: RunDir) -> Iterator[None]:
    if folder.in_use():
        raise InUse(folder.path)
    with folder.lock():
        yield
