"""Annotators: a person, a simulated annotator (the judge), a labels file, or an external one.

All of them end in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hero_engine.config.prompts import PromptPlan
from hero_engine.config.tasks import Task, task_of_prompt
from hero_engine.core.errors import HeroError, LabelsNeeded, StopRequested
from hero_engine.core.events import Command, Stop
from hero_engine.core.labels import Mark, MarkValue
from hero_engine.core.numbering import round_name
from hero_engine.labelling.judge_program import Asked, JudgeFailed, ask
from hero_engine.labelling.judge_source import JudgeSource, bests
from hero_engine.labelling.labels_file import LabelsFile, template, to_lines
from hero_engine.labelling.simulated import AnnotatorModel
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.journal import Journal
from hero_engine.storage.png import read_png
from hero_engine.storage.run_folder import RunDir

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Pictures = Mapping[int, Path]
"""A round's PNG files by index."""
PERFECT = AnnotatorModel()
MARK_VALUES: Mapping[bool | None, MarkValue] = {True: "good", False: "bad", None: "clear"}


class Annotator(Protocol):
    """Labels rounds."""

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Return when the round's labels are in the journal and submitted.

        StopRequested if the engine should stop instead.
        """
        ...


class PersonAnnotator:
    """A person: the app writes the marks and the submission into the journal, then sends
    SubmitLabels. Only the app writes there, so the time of a submission is written once.

    receive: returns the next command, whenever it comes; it may raise to end the wait.
    """

    def __init__(self, receive: Callable[[], Command]) -> None:
        self._receive = receive

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Wait until the round is submitted. StopRequested on Stop."""
        while not journal.submitted(round):
            if isinstance(self._receive(), Stop):
                raise StopRequested


class SimulatedAnnotator:
    """The embedded judge in a person's place.

    It labels an image good if it reads a success, and names the most probable one of each prompt
    best.

    model: how its labels differ from the judge's; its mistakes follow from `seed`. plan: the run's
    prompts, by default the task's; each is judged by the task that has it (`task_of_prompt`).
    HeroError for a prompt that no judge knows.
    """

    def __init__(
        self,
        task: Task,
        model: AnnotatorModel = PERFECT,
        seed: int = 0,
        plan: PromptPlan | None = None,
    ) -> None:
        from hero_engine.embedded.judge import Judge

        plan = plan or PromptPlan((task.prompt,))
        tasks = [task_of_prompt(task, kind.prompt) for kind in plan.kinds]
        self._plan, self._tasks = plan, [(judged(each), model.wanted(each)) for each in tasks]
        self._model, self._seed = model, seed
        self._judge = Judge.open("labeller")

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Label the pictures in one step."""
        groups = dict(zip(pictures, self._plan.groups(round, len(pictures)), strict=True))
        seen = {
            group: self._judged([i for i in pictures if groups[i] == group], pictures, group)
            for group in {*groups.values()}
        }
        success = [seen[groups[image]][image][0] for image in pictures]
        labels = self._model.labels(success, list(pictures), self._seed, round)
        marks = [Mark(i, MARK_VALUES[label]) for i, label in zip(pictures, labels, strict=True)]
        for group, of_prompt in sorted(seen.items()):
            goods = {
                image: of_prompt[image][1]
                for image, label in zip(pictures, labels, strict=True)
                if label and groups[image] == group
            }
            if goods:
                marks.append(Mark(max(goods, key=goods.__getitem__), "best"))
        journal.mark(round, marks, source=self._model.name, submit=True)

    def _judged(
        self, images: Sequence[int], pictures: Pictures, group: int
    ) -> dict[int, tuple[bool, float]]:
        """Whether each picture is a success, and how probably."""
        task, wanted = self._tasks[group]
        pixels = read_pictures({image: pictures[image] for image in images})
        success = self._judge.success(task, pixels, wanted).tolist()
        probability = self._judge.success_probability(task, pixels, wanted)
        return dict(zip(images, zip(success, probability, strict=True), strict=True))


class JudgeAnnotator:
    """A custom judge; see `judge_source.py`.

    raise_if_stopped: called while the judge works; set by the engine.
    """

    def __init__(self, source: JudgeSource, plan: PromptPlan) -> None:
        self._source, self._plan = source, plan
        self.raise_if_stopped: Callable[[], None] = lambda: None

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Label the pictures in one step. HeroError, exit code 3, if the judge fails."""
        groups = self._plan.groups(round, len(pictures))
        asked = [
            Asked(path, self._plan.kinds[group].prompt)
            for path, group in zip(pictures.values(), groups, strict=True)
        ]
        try:
            verdicts = ask(self._source, asked, self.raise_if_stopped)
        except JudgeFailed as error:
            raise HeroError(
                f"{error.message}. {round_name(round).capitalize()} still waits for labels: fix "
                "the judge, then run hero resume with the same --labels",
                exit_code=error.exit_code,
            ) from error
        labels = self._source.labels(verdicts, groups)
        images = list(pictures)
        marks = [Mark(image, MARK_VALUES[each]) for image, each in zip(images, labels, strict=True)]
        marks += [Mark(images[best], "best") for best in bests(verdicts, labels, groups)]
        journal.mark(round, marks, source=self._source.name, submit=True)


def judged(task: Task) -> str:
    """The judges' name of the task. HeroError if no judge knows it."""
    if task.judge is None:
        raise HeroError(
            f"no judge knows the task {task.name!r}: give its labels with --labels FILE.jsonl"
        )
    return task.judge


def read_pictures(pictures: Pictures) -> npt.NDArray[np.uint8]:
    """The files as one uint8 array (B, H, W, 3)."""
    import numpy as np

    return np.stack([np.asarray(read_png(path)) for path in pictures.values()])


class FileAnnotator:
    """Labels from the lines of a file, in their order; pictures without a line stay unlabelled.

    A line with the checksum of another picture is refused (HeroError, exit code 2), unless `force`
    is given; then `warn` is called with a line that says so. A round without lines waits, as in
    `ExternalAnnotator`.
    """

    def __init__(
        self,
        labels: LabelsFile,
        folder: RunDir,
        *,
        force: bool = False,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._labels, self._folder = labels, folder
        self._force, self._warn = force, warn

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Write the round's lines into the journal in one step."""
        if round not in self._labels.rounds:
            wanted = waiting(self._folder, round, pictures)
            raise LabelsNeeded(f"{self._labels.without(round)}; {wanted}")
        if warning := refuse_others(self._labels, round, pictures, force=self._force):
            self._warn(warning)
        marks = self._labels.marks(round)
        journal.mark(round, marks, source=self._labels.path.name, submit=True)


def refuse_others(labels: LabelsFile, round: int, pictures: Pictures, *, force: bool) -> str:
    """HeroError if labels were given for other pictures; with `force` a line that says so."""
    others = labels.others(round, pictures)
    if not others:
        return ""
    if force:
        share = f"{len(others)} of {len(pictures)}"
        return f"{round_name(round)}: {share} labels are for other pictures"
    raise labels.refusal(
        others[0],
        f'"image" {others[0].image} of "round" {round} is another picture than this label was '
        "given for (its sha256 differs); --force labels it anyway",
    )


class ExternalAnnotator:
    """Labels from outside: another program reads the pictures and calls `hero label`."""

    def __init__(self, folder: RunDir) -> None:
        self._folder = folder

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Write a template, and stop (LabelsNeeded) until the labels are there."""
        raise LabelsNeeded(waiting(self._folder, round, pictures))


def waiting(folder: RunDir, round: int, pictures: Pictures) -> str:
    """Write a template of the round's labels, unless there is one; returns what to do with it."""
    path = template_path(folder, round)
    if not path.exists():
        write_atomically(path, to_lines(template(round, pictures, folder.path)))
    return f"fill in {path} and give it to: hero label {folder.path} --from FILE"


def template_path(folder: RunDir, round: int) -> Path:
    """Path of the template of a round's labels, whether it exists or not."""
    return folder.path / f"labels-r{round:03}.jsonl"
