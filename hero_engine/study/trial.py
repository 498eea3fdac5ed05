"""One trial of a study: a run that is scored after every N labels.

The run is an ordinary run folder. Its scores are a JSON file that grows by one point at a time. An
interrupted trial resumes from its last checkpoint and repeats at most one round; a finished one is
only read; one whose budget has grown continues.
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
from hero_engine.evaluation.evaluate import EVALUATION_SEED, Score, Scorer
from hero_engine.labelling.annotators import SimulatedAnnotator
from hero_engine.labelling.simulated import read_annotator_model
from hero_engine.policy.noise_prior import FRESH
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, is_run
from hero_engine.study.plan import Plan, Trial
from hero_engine.training.progress_reports import Reporter
from hero_engine.training.run import Run
from hero_engine.training.trainer import Trainer

KL_IMAGES = 16
"""Number of sampling chains in the mean of the KL."""
OnPictures = Callable[[int], None]
OnScore = Callable[[Trial, dict[str, Any]], None]


class InUse(Exception):  # noqa: N818 - not an error: another process runs the trial
    """Another process runs this trial."""


@dataclass
class Listener:
    """Callbacks. pictures(n): n more were sampled; score(trial, point): a point was added."""

    pictures: OnPictures = field(default=lambda count: None)
    score: OnScore = field(default=lambda trial, point: None)


def read_figures(path: Path) -> dict[str, Any]:
    """A trial's file; empty before the first score. HeroError, exit code 4, if it is damaged."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise HeroError(
            f"{path} is damaged ({error}): delete it and run the study again",
            exit_code=ExitCode.RUN,
        ) from error


def is_finished(figures: dict[str, Any], labels: int) -> bool:
    """True if the trial was scored at its budget of `labels`, transfer included."""
    points = figures.get("points", [])
    return bool(points) and points[-1]["labels"] >= labels and "transfer" in figures


def run_trial(plan: Plan, trial: Trial, listener: Listener) -> dict[str, Any]:
    """Run a trial up to its budget; returns its figures.

    InUse if another process runs it. HeroError, exit code 4, if it was begun with other settings.
    """
    path = plan.figures_path(trial)
    figures = read_figures(path) or new_figures(plan, trial)
    _check_same(path, figures, new_figures(plan, trial))
    if is_finished(figures, trial.labels):
        return figures
    folder = _folder(plan, trial)
    with _held(folder), Journal(folder.journal_path) as journal:
        _Runner(plan, trial, folder, journal, listener, figures).run()
    return read_figures(path)


class _Runner:
    """A trial in progress; the run's lock is held."""

    def __init__(
        self,
        plan: Plan,
        trial: Trial,
        folder: RunDir,
        journal: Journal,
        listener: Listener,
        figures: dict[str, Any],
    ) -> None:
        self.plan, self.trial, self.folder, self.journal = plan, trial, folder, journal
        self.listener, self.figures = listener, figures
        self.annotator_model = read_annotator_model(trial.labeller)
        self.trainer = Trainer.open(folder.settings)
        self.training = Run(
            folder,
            journal,
            self.trainer,
            SimulatedAnnotator(folder.task, self.annotator_model, folder.settings.seed),
            emit=Reporter(folder, self._ignore).emit,
        )

    def run(self) -> None:
        """Run rounds and score until the budget is used; then score transfer."""
        self.figures.pop("transfer", None)  # of a smaller budget
        self._score_if_due()
        while self.training.labels_used < self.trial.labels:
            self.training.run_round()
            self.listener.pictures(self.folder.settings.batch)
            self._score_if_due()
        self.figures["transfer"] = self._transfer()
        self._save()

    def _ignore(self, event: Event) -> None:
        """Do nothing: the reporter has written the event to the run folder."""

    def _score_if_due(self) -> None:
        """Score at each multiple of `every` labels and at the end of the budget."""
        labels, points = self.training.labels_used, self.figures["points"]
        last = points[-1]["labels"] if points else 0
        crossed = labels // self.plan.every > last // self.plan.every
        if labels > last and (crossed or labels >= self.trial.labels):
            points.append(self._point(labels))
            self._save()
            self.listener.score(self.trial, points[-1])

    def _point(self, labels: int) -> dict[str, Any]:
        """Scores with fresh noise and, if the method uses it, guided noise; KL to the base."""
        settings, priors = self.folder.settings, self.training.state.priors
        guided = priors.guided and settings.noise.fresh_ratio < 1
        fresh = self._score()
        noises = FRESH.draw(
            min(KL_IMAGES, self.plan.images),
            self.trainer.model.latent_shape,
            settings.noise,
            EVALUATION_SEED,
            0,
        )
        self.trainer.model.load_lora_state(self.training.state.lora)
        kl = kl_to_base(
            self.trainer.model, settings.prompt, noises, settings.sampler, EVALUATION_SEED
        )
        return {
            "labels": labels,
            "fresh": asdict(fresh),
            "guided": asdict(self._score(guided=True)) if guided else None,
            "base_guided": asdict(self._score(guided=True, base=True))
            if guided and labels >= self.trial.labels
            else None,
            "kl": kl,
        }

    def _score(
        self, *, guided: bool = False, base: bool = False, prompt: str | None = None
    ) -> Score:
        reported = 0

        def on_picture(done: int, total: int) -> None:
            nonlocal reported
            self.listener.pictures(done - reported)
            reported = done

        scorer = Scorer(
            self.folder,
            self.plan.images,
            prompt or "",
            on_picture,
            learned=(self.trainer, self.training.state),
            wanted=self.annotator_model.wanted(self.folder.task),
        )
        return scorer.score(self.training.state.priors.of(0) if guided else FRESH, base=base)

    def _transfer(self) -> dict[str, Any]:
        """Scores with fresh noise and the task's prompts that were not trained on."""
        prompts = self.folder.task.transfer_prompts
        return {prompt: asdict(self._score(prompt=prompt)) for prompt in prompts}

    def _save(self) -> None:
        self.figures["rounds"] = self.journal.metrics()
        self.figures["labels"] = [
            list(self._labels(each)) for each in range(self.training.state.round)
        ]
        path = self.plan.figures_path(self.trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(self.figures, indent=1))

    def _labels(self, round: int) -> Iterator[str]:
        """One letter a picture: g good, b bad, * best, - unlabelled."""
        labels = self.folder.labels(self.journal, round)
        letters = {True: "g", False: "b", None: "-"}
        for image, good in enumerate(labels.good):
            yield "*" if image in labels.bests else letters[good]


def new_figures(plan: Plan, trial: Trial) -> dict[str, Any]:
    """The file of a trial before its first round."""
    return {
        "task": trial.task.name,
        "method": trial.method.name,
        "labeller": trial.labeller,
        "seed": trial.seed,
        "images": plan.images,
        "every": plan.every,
        "evaluation_seed": EVALUATION_SEED,
        "settings": json.loads(json.dumps(flat(asdict(trial.settings())))),
        "made_with": made_with(),
        "points": [],
    }


def made_with() -> dict[str, str]:
    """Versions, machine and threads, for the trial's file."""
    return {
        "hero": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "threads": str(torch.get_num_threads()),
    }


def _check_same(path: Path, kept: dict[str, Any], wanted: dict[str, Any]) -> None:
    """HeroError if a trial was begun with other settings.

    Settings that did not exist then, and those of updates that are not used, may differ.
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
            "use another folder for --out",
            exit_code=ExitCode.RUN,
        )


def _folder(plan: Plan, trial: Trial) -> RunDir:
    path = plan.run_path(trial)
    if is_run(path):
        return RunDir.open(path)
    return RunDir.create(path, trial.settings(), trial.task)


@contextmanager
def _held(folder: RunDir) -> Iterator[None]:
    if folder.in_use():
        raise InUse(folder.path)
    with folder.lock():
        yield
