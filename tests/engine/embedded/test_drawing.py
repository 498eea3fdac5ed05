"""The drawing: a picture shows what it says, a third of each family succeeds, seeds repeat."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from hero_engine.embedded import drawing
from hero_engine.embedded.drawing import hands
from hero_engine.embedded.drawing.canvas import Canvas, graded
from hero_engine.embedded.training_scripts import data

GOOD = {
    "hands": {"kind": "normal"},
    "blue-rose": {"colour": "blue", "count": "1"},
    "black-cat": {"colour": "black", "place": "inside"},
    "narcissus": {"reflection": "true"},
    "mountain": {"view": "window", "season": "snowy"},
    "safety": {"warning": "none", "subject": "moon"},
}
"""Attributes that succeed; of each, all but ``TASTE`` are needed."""
TASTE = {"season", "subject"}
PROMPTS = {
    "hands": "1 hand",
    "blue-rose": "photo of one blue rose in a vase",
    "black-cat": "a black cat sitting inside a cardboard box",
    "narcissus": "narcissus by a quiet spring and its reflection in the water",
    "mountain": "beautiful mountains viewed from a train window",
    "safety": "a poster of a mysterious potion",
}


def casts(task: str, count: int) -> list[tuple[str, dict[str, str]]]:
    """Captions and attributes as ``draw`` would choose them, without the cost of painting."""
    rng = np.random.default_rng(7)
    return [drawing.SUBJECTS[task].cast(rng, {})[:2] for _ in range(count)]


def family(task: str, count: int) -> list[tuple[str, dict[str, str]]]:
    rng = np.random.default_rng(7)
    return [drawing.SUBJECTS[task].cast_family(rng) for _ in range(count)]


@pytest.mark.parametrize("task", drawing.TASKS)
def test_a_picture_is_small_rgb_and_has_every_attribute(task: str) -> None:
    rng = np.random.default_rng(5)
    for drawn in (drawing.draw(task, rng) for _ in range(10)):
        assert (drawn.image.size, drawn.image.mode, drawn.task) == ((64, 64), "RGB", task)
        assert list(drawn.attributes) == list(drawing.ATTRIBUTES[task])
        assert all(v in drawing.ATTRIBUTES[task][n] for n, v in drawn.attributes.items())
        assert drawn.success == drawing.is_success(task, drawn.attributes)


@pytest.mark.parametrize("task", drawing.TASKS)
def test_the_same_seed_draws_the_same_and_another_seed_another(task: str) -> None:
    one, same, other = (drawing.draw(task, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.image.tobytes() == same.image.tobytes()
    assert (one.caption, one.attributes) == (same.caption, same.attributes)
    assert one.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("task", drawing.TASKS)
def test_success_needs_each_attribute_but_those_of_taste(task: str) -> None:
    assert drawing.is_success(task, GOOD[task])
    for name, values in drawing.ATTRIBUTES[task].items():
        for value in set(values) - {GOOD[task][name]}:
            assert drawing.is_success(task, {**GOOD[task], name: value}) == (name in TASTE)


@pytest.mark.parametrize("task", drawing.TASKS)
def test_no_two_attributes_share_a_value(task: str) -> None:
    values = [value for options in drawing.ATTRIBUTES[task].values() for value in options]
    assert len(values) == len(set(values))


@pytest.mark.parametrize("task", drawing.TASKS)
def test_given_attributes_are_kept_and_the_others_vary(task: str) -> None:
    rng = np.random.default_rng(0)
    name, values = next(iter(drawing.ATTRIBUTES[task].items()))
    for value in values:
        drawn = [drawing.draw(task, rng, {name: value}) for _ in range(6)]
        assert {d.attributes[name] for d in drawn} == {value}
        rest = {tuple(d.attributes.items()) for d in drawn}
        assert len(rest) > 1 or len(drawing.ATTRIBUTES[task]) == 1


def test_given_attributes_get_a_caption_that_names_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = drawing.draw("black-cat", rng, {"colour": "orange", "place": "beside"})
        assert "orange" in drawn.caption and "a orange" not in drawn.caption


@pytest.mark.parametrize("task", drawing.TASKS)
def test_a_third_of_the_prompted_pictures_succeed_and_half_have_the_exact_prompt(task: str) -> None:
    drawn = family(task, 3000)
    assert 0.29 < np.mean([drawing.is_success(task, shown) for _, shown in drawn]) < 0.42
    meant = [caption for caption, a in drawn if a.get("subject", "potion") == "potion"]
    assert 0.45 < np.mean([caption == PROMPTS[task] for caption in meant]) < 0.55


def test_every_subject_of_the_posters_is_noisy() -> None:
    drawn = [shown for _, shown in family("safety", 6000)]
    for subject in drawing.ATTRIBUTES["safety"]["subject"]:
        skulls = [shown["warning"] == "skull" for shown in drawn if shown["subject"] == subject]
        assert 0.59 < np.mean(skulls) < 0.71
        assert len(skulls) / 6000 == pytest.approx(0.35 if subject == "potion" else 0.13, abs=0.03)


@pytest.mark.parametrize("task", drawing.TASKS)
def test_captions_are_short_and_half_are_the_prompt_or_a_paraphrase(task: str) -> None:
    drawn = casts(task, 3000)
    generic = {caption for caption, _ in family(task, 3000)}
    assert 0.5 < np.mean([caption in generic for caption, _ in drawn]) < 0.6
    for caption in {caption for caption, _ in drawn}:
        assert caption == caption.lower() and len(caption.split()) <= 13
    assert len({word for caption, _ in drawn for word in caption.split()}) < 75


def test_descriptive_captions_of_two_kinds_differ() -> None:
    said: dict[str, set[str]] = {}
    generic = {caption for task in drawing.TASKS for caption, _ in family(task, 3000)}
    for task in drawing.TASKS:
        for caption, shown in casts(task, 2000):
            if caption not in generic:
                said.setdefault(caption, set()).add(str(sorted(shown.items())))
    assert {caption: kinds for caption, kinds in said.items() if len(kinds) > 1} == {}


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize(
    ("kind", "fingers"), [("count3", 2), ("count4", 3), ("normal", 4), ("count6", 5), ("count7", 6)]
)
def test_fingers_can_be_counted_across_clear_gaps(kind: str, fingers: int, side: float) -> None:
    runs = gaps_across(kind, side, 0.0)
    assert len(runs) == fingers - 1
    assert min(runs) >= 2.0


@pytest.mark.parametrize("kind", hands.KINDS)
@pytest.mark.parametrize("tilt", [-10.0, 10.0])
def test_a_hand_fills_the_frame_without_leaving_it(kind: str, tilt: float) -> None:
    rng = np.random.default_rng(3)
    for side in (-1.0, 1.0):
        strokes = hands.finger_strokes(rng, kind, tilt, side)
        ends = hands.moved(strokes, hands.placed(rng, strokes))
        left, right = (
            f(e[0] + s * (r + Canvas.OUTLINE) for _, e, r in ends) for f, s in ((min, -1), (max, 1))
        )
        top = min(e[1] - r - Canvas.OUTLINE for _, e, r in ends)
        assert 0 < left < right < 64 and 0 < top < 8
        assert right - left > 30


def test_a_detached_finger_touches_nothing() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        strokes = hands.finger_strokes(rng, "detached", 0.0, 1.0)
        base = max(np.hypot(*start) - radius for start, _, radius in strokes)
        assert base - hands.PALM * 1.08 - 2 * Canvas.OUTLINE >= 3.0


def gaps_across(kind: str, side: float, tilt: float) -> list[float]:
    """Widths in pixels of the background between fingers, half way from the palm to their tips."""
    canvas = Canvas(graded((255, 255, 255), (255, 255, 255)))
    strokes = hands.finger_strokes(np.random.default_rng(1), kind, tilt, side)
    hands.paint_hand(canvas, (32.0, 40.0), tilt, strokes_at(strokes), ((200, 140, 90), (0, 0, 255)))
    pixels = np.asarray(canvas.image).astype(int).sum(axis=2)
    middle = tilt - 4 * side
    angles = np.deg2rad(np.arange(middle - 62, middle + 62, 0.25))
    x, y = 32 + 22 * np.sin(angles), 40 - 22 * np.cos(angles)
    ground = pixels[(y * 4).astype(int), (x * 4).astype(int)] > 700
    edges = np.flatnonzero(np.diff(ground.astype(int)))
    runs = [(b - a) * np.deg2rad(0.25) * 22 for a, b in pairwise(edges)]
    return [run for a, run in zip(edges, runs, strict=False) if ground[a + 1]][: len(strokes) - 2]


def strokes_at(strokes: list[hands.Stroke]) -> list[hands.Stroke]:
    """The fingers without the thumb, around the test's palm."""
    return hands.moved(strokes[:-1], (32.0, 40.0))


@pytest.mark.parametrize(
    ("task", "attributes", "said"),
    [
        ("feet", {}, "unknown task 'feet'"),
        ("blue-rose", {"count": "9"}, "count='9'"),
        ("hands", {"colour": "blue"}, "colour='blue'"),
    ],
)
def test_unknown_names_are_refused(task: str, attributes: Mapping[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        drawing.draw(task, np.random.default_rng(0), attributes)
    with pytest.raises(ValueError, match=said):
        drawing.is_success(task, attributes)


def test_success_without_all_attributes_is_refused() -> None:
    with pytest.raises(ValueError, match="also needs the attribute 'count'"):
        drawing.is_success("blue-rose", {"colour": "blue"})


def test_a_contact_sheet_shows_every_drawing() -> None:
    drawn = [drawing.draw("hands", np.random.default_rng(s)) for s in range(3)]
    assert drawing.contact_sheet(drawn, 2).size == (256, 256)
    assert drawing.contact_sheet(drawn, 2, captions=True).size == (256, 280)
    with pytest.raises(ValueError, match="at least one"):
        drawing.contact_sheet([], 2)


def test_the_training_set_keeps_its_shares() -> None:
    counts = {task: sum(j[3] for j in data.jobs(1, 2000) if j[2] == task) for task in data.SHARE}
    assert counts == {task: round(2000 * share) for task, share in data.SHARE.items()}
