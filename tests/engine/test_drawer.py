"""The drawer: what it says it drew follows its rules, and the same seed draws the same picture."""

from collections import Counter

import numpy as np
import pytest

from hero_engine.embedded import drawer
from hero_engine.embedded.drawer import hands
from hero_engine.embedded.drawer.common import Canvas, graded
from hero_engine.embedded.training import data


@pytest.mark.parametrize("task", drawer.TASKS)
def test_a_picture_has_its_size_caption_and_attributes(task: str) -> None:
    drawn = drawer.draw(task, np.random.default_rng(5))
    assert (drawn.image.size, drawn.image.mode) == ((64, 64), "RGB")
    assert drawn.caption and len(drawn.caption.split()) <= 13
    for name, value in drawn.attributes.items():
        assert value in drawer.ATTRIBUTES[task][name]


@pytest.mark.parametrize("task", drawer.TASKS)
def test_the_same_seed_draws_the_same_picture_and_another_seed_another(task: str) -> None:
    one, same, other = (drawer.draw(task, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.image.tobytes() == same.image.tobytes() and one.caption == same.caption
    assert one.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        ("hands", {"kind": "normal"}, {"kind": "fused"}),
        ("blue-rose", {"colour": "blue", "count": "1"}, {"colour": "blue", "count": "2"}),
        (
            "black-cat",
            {"colour": "black", "place": "inside"},
            {"colour": "gray", "place": "inside"},
        ),
        ("narcissus", {"reflection": "true"}, {"reflection": "wrong"}),
        ("mountain", {"view": "window", "season": "green"}, {"view": "open", "season": "green"}),
        ("safety", {"warning": "none", "subject": "moon"}, {"warning": "skull", "subject": "moon"}),
    ],
)
def test_success_is_the_tasks_criterion(
    task: str, good: dict[str, str], bad: dict[str, str]
) -> None:
    assert drawer.is_success(task, good) and not drawer.is_success(task, bad)


def test_given_attributes_are_drawn() -> None:
    drawn = drawer.draw("blue-rose", np.random.default_rng(0), {"colour": "red", "count": "3"})
    assert drawn.attributes == {"colour": "red", "count": "3"} and not drawn.success
    red, _, blue = np.asarray(drawn.image).reshape(-1, 3)[
        np.argmax(np.asarray(drawn.image).astype(int).reshape(-1, 3) @ [1, -1, -1])
    ]
    assert red > blue + 80


@pytest.mark.parametrize("task", drawer.TASKS)
def test_about_a_third_of_a_family_succeeds(task: str) -> None:
    rng = np.random.default_rng(3)
    room = drawer._ROOMS[task]
    share = np.mean([room.succeeds(room.family(rng)[1]) for _ in range(3000)])
    assert 0.26 < share < 0.42


def test_more_fingers_are_more_crossings_of_a_circle_through_them() -> None:
    def crossings(kind: str) -> int:
        canvas = Canvas(graded((255, 255, 255), (255, 255, 255)))
        strokes = hands.finger_strokes(np.random.default_rng(1), kind, (32.0, 41.5), 0.0, 1.0, 1.0)
        hands.paint_hand(canvas, (32.0, 41.5), 0.0, 1.0, strokes, (240, 200, 160), (0, 0, 255))
        pixels = np.asarray(canvas.finished()).astype(int)
        angles = np.deg2rad(np.arange(-60, 55, 0.5))
        x, y = 32 + 26 * np.sin(angles), 41.5 - 26 * np.cos(angles)
        light = pixels[y.round().astype(int), x.round().astype(int)].sum(axis=1)
        inside = light < 650
        return int((np.diff(inside.astype(int)) == 1).sum())

    assert [crossings(k) for k in ("count3", "count4", "normal", "count6")] == [2, 3, 4, 5]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="unknown task 'feet'"):
        drawer.draw("feet", np.random.default_rng(0))
    with pytest.raises(ValueError, match="count='9'"):
        drawer.draw("blue-rose", np.random.default_rng(0), {"count": "9"})


def test_the_training_set_keeps_its_shares() -> None:
    counts = Counter(job[2] for job in data.jobs(1, 2000) for _ in range(job[3]))
    assert counts == {task: round(2000 * share) for task, share in data.SHARE.items()}
