"""The labelling model under arbitrary keys.

What undo, redo, resume and the journal must agree on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_engine.core.labels import Mark
from hero_engine.storage.journal import Journal
from hero_tui.session.label_session import LabelSession
from hero_tui.session.undo_history import UndoHistory

COUNT = 12
PAGES = [range(0, 4), range(4, 8), range(8, 12), range(2, 6)]
images = st.integers(0, COUNT - 1)
keys = st.one_of(
    st.tuples(st.just("good"), images),
    st.tuples(st.just("best"), images),
    st.tuples(st.just("bad"), images),
    st.tuples(st.just("skip"), images),
    st.tuples(st.just("name"), images),
    st.tuples(st.just("range"), st.tuples(images, images, st.booleans())),
    st.tuples(st.just("invert"), st.sampled_from(PAGES)),
    st.tuples(st.just("commit"), st.sampled_from(PAGES)),
    st.tuples(st.just("commit, rest skipped"), st.sampled_from(PAGES)),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("redo"), st.none()),
)
Key = tuple[str, object]


def press(session: LabelSession, key: Key) -> object:
    name, argument = key
    match name:
        case "undo" | "redo":
            return getattr(session, name)()
        case "commit":
            return session.commit(list(argument))
        case "commit, rest skipped":
            return session.commit(list(argument), rest_bad=False)
        case "invert":
            return session.invert(list(argument))
        case "range":
            start, end, good = argument
            return session.mark_all(range(min(start, end), max(start, end) + 1), good=good)
    one = {
        "good": session.toggle_good,
        "best": session.toggle_best,
        "bad": session.say_bad,
        "skip": session.toggle_skip,
        "name": session.name_best,
    }
    return one[name](argument)


prompts = st.sampled_from([(), tuple(image % 3 for image in range(COUNT))])
"""The numbers of the pictures' prompts: one prompt, or three."""


def forgetful(marks: Sequence[Mark], kind: str) -> None:
    """A recorder for tests that look at the session only."""


@given(st.lists(keys, max_size=40), prompts)
def test_undoing_everything_returns_to_the_start_and_redoing_it_to_the_end(
    pressed: list[Key], groups: tuple[int, ...]
) -> None:
    session = LabelSession(COUNT, forgetful, groups)
    for key in pressed:
        press(session, key)
    end = session.marks
    steps = 0
    while session.undo() is not None:
        steps += 1
    assert session.marks == LabelSession(COUNT, forgetful, groups).marks
    for _ in range(steps):
        session.redo()
    assert session.marks == end


@given(st.lists(keys, max_size=30), images)
def test_a_tile_key_touches_its_own_picture_only(pressed: list[Key], image: int) -> None:
    session = LabelSession(COUNT, forgetful)
    for key in pressed:
        press(session, key)
    before = session.labels
    assert session.toggle_good(image) == (image,)
    after = session.labels
    others = [i for i in range(COUNT) if i != image]
    assert [after.good[i] for i in others] == [before.good[i] for i in others]
    assert after.good[image] != before.good[image]
    assert after.best == (None if before.best == image else before.best)


@given(st.lists(keys, max_size=30), st.sampled_from(PAGES))
def test_a_commit_makes_the_unmarked_of_its_page_bad_and_nothing_else(
    pressed: list[Key], page: range
) -> None:
    session = LabelSession(COUNT, forgetful)
    for key in pressed:
        press(session, key)
    before, skipped = session.labels, session.marks.skipped
    session.commit(list(page))
    after = session.labels
    for image in range(COUNT):
        expected = before.good[image]
        if image in page and expected is None and image not in skipped:
            expected = False
        assert after.good[image] is expected
    assert after.best == before.best


@settings(max_examples=30)
@given(st.lists(keys, max_size=25), st.lists(keys, max_size=10), prompts)
def test_the_journal_agrees_and_a_resumed_session_continues_where_it_was(
    before: list[Key], after: list[Key], groups: tuple[int, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        journal.add_round(3)

        def record(marks: Sequence[Mark], kind: str) -> None:
            journal.mark(3, marks, source="person", kind=kind)

        session = LabelSession(COUNT, record, groups)
        for key in before:
            press(session, key)
        assert journal.labels(3, COUNT, groups) == session.labels
        resumed = LabelSession.resumed(COUNT, forgetful, journal.history(3), groups)
        assert resumed.marks == session.marks
        for key in after:
            assert press(resumed, key) == press(session, key)
        assert resumed.marks == session.marks
        journal.close()


def test_a_step_that_the_journal_refuses_does_not_happen() -> None:
    def full(marks: Sequence[Mark], kind: str) -> None:
        raise OSError("no space left on device")

    session = LabelSession(COUNT, full)
    with pytest.raises(OSError, match="no space"):
        session.toggle_good(2)
    assert session.label(2) is None
    assert session.undo() is None


def test_good_again_on_a_committed_page_is_bad_and_elsewhere_unmarked() -> None:
    session = LabelSession(COUNT, forgetful)
    session.toggle_good(0)
    session.toggle_good(5)
    session.commit(range(4))
    session.toggle_good(0)
    session.toggle_good(5)
    assert session.label(0) is False
    assert session.label(5) is None


@given(st.lists(keys, max_size=30), keys)
def test_no_key_touches_a_picture_it_does_not_name(pressed: list[Key], key: Key) -> None:
    """But for best, of which there is one, and which what becomes the best takes away."""
    session = LabelSession(COUNT, forgetful)
    for each in pressed:
        press(session, each)
    name, argument = key
    if name in {"undo", "redo"}:
        return
    if name == "range":
        start, end, _ = argument
        named = set(range(min(start, end), max(start, end) + 1))
    else:
        named = {argument} if isinstance(argument, int) else set(argument)
    before = session.marks
    touched = press(session, key)
    after = session.marks
    assert isinstance(touched, tuple)
    assert set(touched) <= named | ({before.best} - {None})
    for image in set(range(COUNT)) - named:
        assert after.labels[image] == before.labels[image]
        assert (image in after.skipped) == (image in before.skipped)
        assert (image in after.committed) == (image in before.committed)


@given(st.lists(keys, max_size=40))
def test_marks_are_always_of_one_piece(pressed: list[Key]) -> None:
    session = LabelSession(COUNT, forgetful)
    for key in pressed:
        press(session, key)
        marks = session.marks
        assert set(marks.goods) == {i for i, good in enumerate(marks.labels) if good}
        assert len(marks.goods) == len(set(marks.goods))
        assert all(marks.labels[best] for best in marks.bests)
        assert all(marks.labels[image] is None for image in marks.skipped)
        assert all(marks.labels[i] is not None for i in marks.committed - marks.skipped)


@given(st.lists(keys, max_size=30), st.sampled_from(PAGES))
def test_inverting_twice_changes_no_label(pressed: list[Key], page: range) -> None:
    """But what was bad before its page was committed is then without a label."""
    session = LabelSession(COUNT, forgetful)
    for key in pressed:
        press(session, key)
    session.commit(list(page))
    before = session.labels.good
    session.invert(list(page))
    assert all(session.label(i) is not before[i] for i in page if i not in session.marks.skipped)
    session.invert(list(page))
    assert session.labels.good == before


def test_a_skipped_picture_stays_without_a_label_when_its_page_is_committed() -> None:
    session = LabelSession(COUNT, forgetful)
    session.toggle_good(1)
    session.toggle_skip(0)
    session.toggle_skip(1)
    session.commit(range(4))
    assert session.labels.good[:4] == (None, None, False, False)
    session.commit(range(4, 12), rest_bad=False)
    assert session.complete
    assert session.labels.good[4:] == (None,) * 8
    session.toggle_skip(0)
    assert session.label(0) is False
    session.undo()
    session.undo()
    assert not session.complete


def test_a_change_without_effect_is_not_a_step() -> None:
    recorded: list[str] = []
    session = LabelSession(COUNT, lambda marks, kind: recorded.append(kind))
    session.say_bad(3)
    session.say_bad(3)
    session.invert([])
    session.name_best(2)
    session.name_best(2)
    assert recorded == ["mark", "mark"]


def test_the_first_good_is_the_first_marked_not_the_first_shown() -> None:
    session = LabelSession(COUNT, forgetful)
    for image in (7, 2, 9):
        session.toggle_good(image)
    assert session.marks.replayed.assumed_bests({0}) == (7,)
    session.name_bests((7,))
    assert session.labels.best == 7 and session.marks.replayed.assumed_bests({0}) == ()


def test_pictures_that_do_not_exist_cannot_be_marked() -> None:
    session = LabelSession(COUNT, forgetful)
    for bad in (-1, COUNT):
        with pytest.raises(IndexError, match=str(bad)):
            session.toggle_good(bad)


@given(st.lists(st.one_of(st.integers(), st.sampled_from(["undo", "redo"])), max_size=30))
def test_an_undo_history_is_two_stacks(steps: list[int | str]) -> None:
    """The textbook model: undo moves the current state to the other stack, a new one clears it."""
    history = UndoHistory(-1)
    past, current, undone = list[int](), -1, list[int]()
    for step in steps:
        if step == "undo":
            history.undo()
            if past:
                undone.append(current)
                current = past.pop()
        elif step == "redo":
            history.redo()
            if undone:
                past.append(current)
                current = undone.pop()
        else:
            history.add(int(step))
            past.append(current)
            current, undone = int(step), []
        assert history.current == current
        assert history.earlier == (past[-1] if past else None)
        assert history.later == (undone[-1] if undone else None)
