"""Models of an annotator: flips at their rate and reproducible, page limits, narrower criteria."""

from pathlib import Path

import numpy as np
import pytest
from refusals import refused

from hero_engine.config.tasks import Task, load_task
from hero_engine.core.errors import ExitCode
from hero_engine.labelling.annotators import SimulatedAnnotator
from hero_engine.labelling.simulated import (
    AnnotatorModel,
    criterion,
    is_judge,
    read_annotator_model,
)
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("judge", AnnotatorModel()),
        ("judge:flip=0.1", AnnotatorModel(flip=0.1)),
        ("judge:lazy=5", AnnotatorModel(lazy=5)),
        ("judge:picky=green", AnnotatorModel(picky="green")),
        ("judge:hurried=4", AnnotatorModel(hurried=4)),
        ("judge:flip=0.05,lazy=3,picky=snowy", AnnotatorModel(0.05, 3, picky="snowy")),
    ],
)
def test_names(name: str, model: AnnotatorModel) -> None:
    assert is_judge(name) and read_annotator_model(name) == model
    assert read_annotator_model(model.name) == model
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
        "judge:hurried=-1",
        "judge:lazy=5,hurried=5",
        "judge:picky=",
        "judge:kind",
        "judge:flip=0.1,",
    ],
)
def test_unknown_parts_are_refused(name: str) -> None:
    with refused(ExitCode.USAGE, "a judge takes flip=0.1"):
        read_annotator_model(name)


def test_mistakes_are_as_many_as_said_and_follow_from_seed_round_and_picture() -> None:
    good, images = [place % 4 == 0 for place in range(4000)], list(range(4000))

    def wrong(model: AnnotatorModel, seed: int = 7, round: int = 2) -> np.ndarray:
        return np.array(model.labels(good, images, seed, round)) != np.array(good)

    mistakes = wrong(AnnotatorModel(flip=0.1))
    assert abs(mistakes.mean() - 0.1) < 0.015
    assert abs(mistakes[good].mean() - 0.1) < 0.03  # goods and bads alike
    assert (wrong(AnnotatorModel(flip=0.1)) == mistakes).all()
    part = AnnotatorModel(flip=0.1).labels(good[5:9], images[5:9], 7, 2)
    assert (np.array(part) == (np.array(good[5:9]) ^ mistakes[5:9])).all()
    for seed, round in ((8, 2), (7, 3)):
        assert (wrong(AnnotatorModel(flip=0.1), seed, round) != mistakes).mean() > 0.1
    assert not wrong(AnnotatorModel()).any()


GOODS = (1, 4, 30, 31, 33, 66, 67, 68)
"""Of 70 pictures, on pages of 32, 32 and 6: four, one and three."""


def test_a_lazy_annotator_marks_the_first_goods_of_each_page() -> None:
    labels = AnnotatorModel(lazy=2).labels([place in GOODS for place in range(70)], range(70), 0, 0)
    assert [place for place in range(70) if labels[place]] == [1, 4, 33, 66, 67]
    assert None not in labels


def test_a_hurried_annotator_leaves_pages_with_more_goods_unlabelled() -> None:
    good = [place in GOODS for place in range(70)]
    labels = AnnotatorModel(hurried=2).labels(good, range(70), 0, 0)
    assert [place for place in range(70) if labels[place]] == [1, 4, 33, 66, 67]
    assert [place for place in range(70) if labels[place] is False] == [
        place for place in range(32, 64) if place != 33
    ]
    mistaken = AnnotatorModel(hurried=2, flip=0.4).labels(good, range(70), 0, 0)
    assert [label is None for label in mistaken] == [label is None for label in labels]
    assert mistaken != labels


def test_picky_is_narrower_than_the_task() -> None:
    assert criterion(load_task("mountain")) == {"view": "window"}
    assert AnnotatorModel(picky="green").wanted(load_task("mountain")) == {
        "view": "window",
        "season": "green",
    }
    with refused(ExitCode.USAGE, "picky=blue", "green, snowy"):
        AnnotatorModel(picky="blue").wanted(load_task("mountain"))
    with refused(ExitCode.USAGE, "are: nothing"):
        AnnotatorModel(picky="normal").wanted(load_task("hands"))


def test_a_task_can_want_something_else_of_its_subject() -> None:
    task = Task("orange", "a cat", judge="black-cat", wanted={"colour": "orange"})
    assert criterion(task) == {"colour": "orange"}
    assert AnnotatorModel(picky="beside").wanted(task) == {"colour": "orange", "place": "beside"}
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
    for round, model in enumerate((AnnotatorModel(), AnnotatorModel(flip=0.33))):
        with Journal(run.journal_path) as journal:
            journal.add_round(round)
            SimulatedAnnotator(task, model, seed=3).label(round, pictures, journal)
            labels.append(journal.labels(round, 12))
            assert {row.source for row in journal.history(round)} == {model.name}
    assert len(labels[0].goods) == 12
    said = AnnotatorModel(flip=0.33).labels([True] * 12, list(pictures), 3, 1)
    assert list(labels[1].goods) == [place for place in range(12) if said[place]]
    assert 0 < len(labels[1].bads) < 12 and labels[1].best in labels[1].goods


def test_pictures_a_hurried_annotator_leaves_out_have_no_label_in_the_journal(
    run: RunDir, tmp_path: Path
) -> None:
    """Six drawn hands, all good, of which it marks two."""
    from hero_engine.embedded.drawing import draw

    pictures = {}
    for index in range(6):
        pictures[index] = tmp_path / f"{index}.png"
        draw("hands", np.random.default_rng(index), {"kind": "normal"}).image.save(pictures[index])
    with Journal(run.journal_path) as journal:
        journal.add_round(0)
        SimulatedAnnotator(load_task("hands"), AnnotatorModel(hurried=2)).label(
            0, pictures, journal
        )
        labels = journal.labels(0, 6)
        assert journal.submitted(0)
    assert labels.good == (True, True, None, None, None, None)
    assert labels.best in (0, 1)
