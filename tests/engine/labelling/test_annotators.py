"""Labels from a judge and a person end in the journal; mistakes are reported."""

import queue
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from refusals import refused

from hero_engine.config.tasks import Task, load_task
from hero_engine.core.errors import ExitCode, HeroError, StopRequested
from hero_engine.core.events import Command, Stop, SubmitLabels
from hero_engine.core.labels import Labels, Mark
from hero_engine.embedded.judge import Judge
from hero_engine.labelling.annotators import (
    PersonAnnotator,
    SimulatedAnnotator,
    judged,
    read_pictures,
)
from hero_engine.models.model_sources import find_model
from hero_engine.storage.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.db")
    journal.add_round(0)
    journal.add_round(1)
    return journal


# --- a judge


class GreyJudge:
    """Success is a red channel above 100; the likelihood grows with blue."""

    asked: ClassVar[list[str]] = []

    def success(
        self, task: str, images: npt.NDArray[np.uint8], wanted: Any = None
    ) -> npt.NDArray[np.bool_]:
        self.asked.append(task)
        return images[:, 0, 0, 0] > 100

    def success_probability(
        self, task: str, images: npt.NDArray[np.uint8], wanted: Any = None
    ) -> npt.NDArray[np.float32]:
        return images[:, 0, 0, 2].astype(np.float32)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> SimulatedAnnotator:
    opened: list[str] = []

    def open_judge(which: str) -> GreyJudge:
        opened.append(which)
        return GreyJudge()

    monkeypatch.setattr(Judge, "open", open_judge)
    monkeypatch.setattr(GreyJudge, "asked", [])
    labeller = SimulatedAnnotator(Task("cup", "a cup", judge="hands"))
    assert opened == ["labeller"]  # the evaluator never labels
    return labeller


def pictures(folder: Path, *colours: tuple[int, int, int]) -> dict[int, Path]:
    """One PNG a colour, with indices 0, 1, …"""
    found = {}
    for index, colour in enumerate(colours):
        found[index] = folder / f"{index}.png"
        Image.new("RGB", (4, 2), colour).save(found[index])
    return found


def test_a_judge_names_the_likeliest_good_as_best(
    tmp_path: Path, journal: Journal, judge: SimulatedAnnotator
) -> None:
    """Picture 1 is the likeliest of all, but not good."""
    shown = pictures(tmp_path, (200, 0, 90), (0, 0, 250), (200, 0, 120), (0, 0, 0), (200, 0, 30))
    judge.label(0, shown, journal)
    assert journal.labels(0, 5) == Labels((True, False, True, False, True), bests=(2,))
    assert journal.submitted(0) and GreyJudge.asked == ["hands"]
    assert {(each.source, each.step) for each in journal.history(0)} == {("judge", 1)}


def test_a_judge_that_sees_nothing_good_names_no_best(
    tmp_path: Path, journal: Journal, judge: SimulatedAnnotator
) -> None:
    judge.label(0, pictures(tmp_path, (0, 0, 250), (0, 0, 9)), journal)
    assert journal.labels(0, 2) == Labels((False, False))
    assert journal.submitted(0)


def test_a_good_picture_with_probability_0_can_be_best(
    tmp_path: Path, journal: Journal, judge: SimulatedAnnotator
) -> None:
    """What is read and how likely it is are two views, and a likelihood can vanish."""
    judge.label(0, pictures(tmp_path, (0, 0, 250), (200, 0, 0)), journal)
    assert journal.labels(0, 2) == Labels((False, True), bests=(1,))


def test_pictures_keep_their_own_indices(
    tmp_path: Path, journal: Journal, judge: SimulatedAnnotator
) -> None:
    a, b = pictures(tmp_path, (0, 0, 0), (200, 0, 9)).values()
    judge.label(0, {7: a, 4: b}, journal)
    labels = journal.labels(0, 8)
    assert (labels.bads, labels.goods, labels.best) == ((7,), (4,), 4)


def test_a_task_that_no_judge_knows_is_refused() -> None:
    with pytest.raises(HeroError, match="no judge knows the prompt 'a cup': give its labels with"):
        SimulatedAnnotator(Task("cup", "a cup"))
    assert judged(load_task("hands")) == "hands"


def test_pictures_are_read_as_rgb_and_only_as_png(tmp_path: Path) -> None:
    Image.new("L", (4, 2), 7).save(tmp_path / "grey.png")
    Image.new("RGB", (4, 2), (1, 2, 3)).save(tmp_path / "rgb.png")
    got = read_pictures({0: tmp_path / "grey.png", 1: tmp_path / "rgb.png"})
    assert got.shape == (2, 2, 4, 3) and got.dtype == np.uint8
    assert got[:, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]
    Image.new("RGB", (4, 2)).save(tmp_path / "bmp.png", "BMP")
    with refused(ExitCode.RUN, "it is not a PNG"):
        read_pictures({0: tmp_path / "bmp.png"})


# --- a person


def labeller_with(*commands: Command) -> tuple[PersonAnnotator, queue.SimpleQueue[Command]]:
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    for command in commands:
        inbox.put(command)
    return PersonAnnotator(inbox.get), inbox


class Inbox(queue.SimpleQueue[Command]):
    """Submits a round to the journal right before a command is taken, as the app does."""

    def __init__(self, journal: Journal, round: int, submit_before: Command) -> None:
        self.journal, self.round, self.submit_before = journal, round, submit_before

    def get(self, block: bool = True, timeout: float | None = None) -> Command:
        command = super().get(block, timeout)
        if command == self.submit_before:
            self.journal.submit(self.round)
        return command


def test_a_person_waits_until_the_round_itself_is_submitted(journal: Journal) -> None:
    inbox = Inbox(journal, 1, submit_before=SubmitLabels(1))
    for command in (SubmitLabels(0), SubmitLabels(7), SubmitLabels(1), Stop()):
        inbox.put(command)
    PersonAnnotator(inbox.get).label(1, {}, journal)
    assert journal.submitted(1) and not journal.submitted(0)
    assert inbox.get_nowait() == Stop()


def test_the_time_of_a_submission_is_that_of_the_person(journal: Journal) -> None:
    """Only the app writes it: the engine may be at another step, and reads it minutes later."""
    journal.submit(0)
    submitted_at = journal.rounds()[0].submitted
    labeller, inbox = labeller_with(SubmitLabels(0))
    labeller.label(0, {}, journal)
    assert journal.rounds()[0].submitted == submitted_at
    labeller.label(0, {}, journal)
    assert journal.rounds()[0].submitted == submitted_at and not inbox.empty()


def test_a_round_that_was_submitted_before_a_crash_is_not_asked_again(journal: Journal) -> None:
    journal.submit(0)
    labeller, _ = labeller_with()
    labeller.label(0, {}, journal)


def test_a_stop_ends_the_waiting_and_submits_nothing(journal: Journal) -> None:
    journal.mark(0, [Mark(0, "good")], source="person")
    labeller, _ = labeller_with(SubmitLabels(1), Stop(), SubmitLabels(0))
    with pytest.raises(StopRequested):
        labeller.label(0, {}, journal)
    assert not journal.submitted(0) and journal.labels(0, 1) == Labels((True,))


# --- a round's labels


def test_labels_are_sorted_into_goods_bads_and_others() -> None:
    labels = Labels((True, False, None, True), bests=(3,))
    assert (labels.goods, labels.bads, labels.others) == ((0, 3), (1,), (0,))
    assert labels.labelled == 3


@pytest.mark.parametrize("best", [-1, 1, 2, 3])
def test_only_a_good_picture_can_be_best(best: int) -> None:
    with pytest.raises(ValueError, match=f"best is image {best}"):
        Labels((True, False, None), (best,))


# --- where a model lies


def test_a_model_is_a_folder_or_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_model(str(tmp_path / "mine")) == find_model("~/mine") == str(tmp_path / "mine")
    assert find_model("some-one/sd_1.5") == "some-one/sd_1.5"


@pytest.mark.parametrize("name", ["", "mine", "a/b/c", "/gone", "./gone", "../gone", "a b/c"])
def test_an_impossible_model_is_reported_at_once(name: str, tmp_path: Path) -> None:
    with refused(ExitCode.ENVIRONMENT):
        find_model(name or str(tmp_path))
