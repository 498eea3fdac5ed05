"""Judges with habits: mistakes at their rate and the same ones again, laziness by page, taste."""

from pathlib import Path

import numpy as np
import pytest
from refusals import refused

from hero_engine.disk.journal import Journal
from hero_engine.disk.rundir import RunDir
from hero_engine.errors import ExitCode
from hero_engine.habits import Habits, criterion, is_judge, read_habits
from hero_engine.labellers import JudgeLabeller
from hero_engine.tasks import Task, load_task


@pytest.mark.parametrize(
    ("name", "habits"),
    [
        ("judge", Habits()),
        ("judge:flip=0.1", Habits(flip=0.1)),
        ("judge:lazy=5", Habits(lazy=5)),
        ("judge:picky=green", Habits(picky="green")),
        ("judge:flip=0.05,lazy=3,picky=snowy", Habits(0.05, 3, "snowy")),
    ],
)
def test_names(name: str, habits: Habits) -> None:
    assert is_judge(name) and read_habits(name) == habits
    assert read_habits(habits.name) == habits
    assert not is_judge("judge.jsonl") and not is_judge("judges/judge:1")


@pytest.mark.parametrize(
    "name",
    [
        "judge:",
        "judge:flip",
        "judge:flip=0.5",
        "judge:flip=x",
        "judge:lazy=0",
        "judge:lazy=2.5",
        "judge:picky=",
        "judge:kind",
        "judge:flip=0.1,",
    ],
)
def test_unknown_habits_are_refused(name: str) -> None:
    with refused(ExitCode.USAGE, "a judge's habits are flip=0.1"):
        read_habits(name)


def test_mistakes_are_as_many_as_said_and_follow_from_seed_round_and_picture() -> None:
    good, images = np.arange(4000) % 4 == 0, list(range(4000))
    marked = Habits(flip=0.1).marked(good, images, 7, 2)
    wrong = marked != good
    assert abs(wrong.mean() - 0.1) < 0.015
    assert abs(wrong[good].mean() - 0.1) < 0.03  # goods and bads alike
    assert (Habits(flip=0.1).marked(good, images, 7, 2) == marked).all()
    part = Habits(flip=0.1).marked(good[5:9], images[5:9], 7, 2)
    assert (part == marked[5:9]).all()
    for seed, round in ((8, 2), (7, 3)):
        other = Habits(flip=0.1).marked(good, images, seed, round) != good
        assert (other != wrong).mean() > 0.1
    assert (Habits().marked(good, images, 7, 2) == good).all()


def test_a_lazy_one_marks_the_first_goods_of_each_page() -> None:
    good = np.zeros(70, bool)
    good[[1, 4, 30, 31, 33, 66, 67, 68]] = True
    marked = Habits(lazy=2).marked(good, list(range(70)), 0, 0)
    assert np.flatnonzero(marked).tolist() == [1, 4, 33, 66, 67]


def test_taste_is_narrower_than_the_task() -> None:
    assert criterion(load_task("mountain")) == {"view": "window"}
    assert Habits(picky="green").wanted(load_task("mountain")) == {
        "view": "window",
        "season": "green",
    }
    with refused(ExitCode.USAGE, "picky=blue", "green, snowy"):
        Habits(picky="blue").wanted(load_task("mountain"))
    with refused(ExitCode.USAGE, "are: nothing"):
        Habits(picky="normal").wanted(load_task("hands"))


def test_a_task_can_want_something_else_of_its_subject() -> None:
    task = Task("orange", "a cat", judge="black-cat", wanted={"colour": "orange"})
    assert criterion(task) == {"colour": "orange"}
    assert Habits(picky="beside").wanted(task) == {"colour": "orange", "place": "beside"}
    with refused(ExitCode.USAGE, "no black-cat has colour = 'green'"):
        criterion(Task("green", "a cat", judge="black-cat", wanted={"colour": "green"}))
    with refused(ExitCode.USAGE, "no judge knows the task 'feet'"):
        criterion(Task("feet", "feet", judge="feet"))


def test_the_journal_names_the_judge_and_keeps_its_mistakes(run: RunDir, tmp_path: Path) -> None:
    """Both label the same drawn hands, and one in three gets the other label."""
    from hero_engine.embedded.drawing import draw

    pictures = {}
    for index in range(12):
        drawn = draw("hands", np.random.default_rng(index), {"kind": "normal"})
        pictures[index] = tmp_path / f"{index}.png"
        drawn.image.save(pictures[index])
    task, labels = load_task("hands"), []
    for round, habits in enumerate((Habits(), Habits(flip=0.33))):
        with Journal(run.journal_path) as journal:
            journal.add_round(round)
            JudgeLabeller(task, habits, seed=3).label(round, pictures, journal)
            labels.append(journal.labels(round, 12))
            assert {row.source for row in journal.history(round)} == {habits.name}
    assert len(labels[0].goods) == 12
    marked = Habits(flip=0.33).marked(np.ones(12, bool), list(pictures), 3, 1)
    assert list(labels[1].goods) == np.flatnonzero(marked).tolist()
    assert 0 < len(labels[1].bads) < 12 and labels[1].best in labels[1].goods
