"""What marks mean, and labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hero_engine.core.labels import Labels, Mark, RoundMarks
from hero_tui.session.label_session import LabelSession

COUNT = 5
VALUES = ("good", "bad", "clear", "best")
marks = st.lists(st.builds(Mark, st.integers(0, COUNT - 1), st.sampled_from(VALUES)), max_size=12)


def test_the_last_mark_on_an_image_decides() -> None:
    given_marks = [Mark(0, "good"), Mark(1, "bad"), Mark(2, "best"), Mark(1, "good")]
    replayed = RoundMarks.replayed(4, given_marks)
    assert replayed == RoundMarks((True, True, True, None), goods=(0, 2, 1), bests=(2,))
    assert replayed.after(Mark(2, "bad")) == RoundMarks((True, True, False, None), goods=(0, 1))
    assert replayed.after(Mark(2, "good")).bests == (2,)
    assert replayed.after(Mark(2, "unbest")) == RoundMarks((True, True, True, None), (0, 2, 1))
    assert replayed.after(Mark(0, "best")).bests == (0,)
    assert replayed.after(Mark(0, "clear")).first_good() == 2


def test_an_image_that_becomes_good_again_is_the_last_of_the_good() -> None:
    again = RoundMarks.replayed(3, [Mark(0, "good"), Mark(1, "good"), Mark(0, "bad")])
    assert again.after(Mark(0, "good")).goods == (1, 0)


def test_marks_beyond_the_batch_are_ignored_in_a_replay_and_refused_alone() -> None:
    assert RoundMarks.replayed(2, [Mark(2, "good"), Mark(-1, "bad")]).good == (None, None)
    for image in (2, -1):
        with pytest.raises(IndexError):
            RoundMarks((None, None)).after(Mark(image, "good"))


def test_a_required_best_is_the_first_good_image() -> None:
    marked = RoundMarks.replayed(3, [Mark(2, "good"), Mark(0, "good")])
    assert marked.labels() == Labels((True, None, True))
    assert marked.labels({0}) == Labels((True, None, True), (2,), best_assumed=True)
    named = marked.after(Mark(0, "best"))
    assert named.labels({0}) == Labels((True, None, True), (0,))
    nothing = RoundMarks((False, None))
    assert nothing.labels({0}) == Labels((False, None))


@given(marks)
def test_the_labelling_screen_replays_marks_as_the_engine_does(given_marks: list[Mark]) -> None:
    session = LabelSession(COUNT, lambda marks, kind: None)
    actions = {
        "good": lambda image: session.mark_all([image], good=True),
        "bad": session.say_bad,
        "clear": lambda image: session.label(image) is None or session.toggle_skip(image),
        "best": session.name_best,
    }
    recorded: list[Mark] = []
    session._record = lambda marks, kind: recorded.extend(marks)
    for mark in given_marks:
        actions[mark.value](mark.image)
    assert RoundMarks.replayed(COUNT, recorded).labels() == session.labels


def test_labels_that_cannot_be_are_refused() -> None:
    for good, best in (((True,), 1), ((True, False), 1), ((None,), 0)):
        with pytest.raises(ValueError, match="best is image"):
            Labels(good, (best,))
