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

from hero_engine.journal import Journal, Mark
from hero_tui.session import Session

COUNT = 12
PAGES = [range(0, 4), range(4, 8), range(8, 12), range(2, 6)]
images = st.integers(0, COUNT - 1)
keys = st.one_of(
    st.tuples(st.just("good"), images),
    st.tuples(st.just("best"), images),
    st.tuples(st.just("commit"), st.sampled_from(PAGES)),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("redo"), st.none()),
)
Key = tuple[str, object]


def press(session: Session, key: Key) -> object:
    name, argument = key
    if name in {"undo", "redo"}:
        return getattr(session, name)()
    if name == "commit":
        return session.commit(list(argument))
    return session.toggle_good(argument) if name == "good" else session.toggle_best(argument)


def forgetful(marks: Sequence[Mark], kind: str) -> None:
    """A recorder for tests that look at the session only."""


@given(st.lists(keys, max_size=40))
def test_undoing_everything_returns_to_the_start_and_redoing_it_to_the_end(
    pressed: list[Key],
) -> None:
    session = Session(COUNT, forgetful)
    for key in pressed:
        press(session, key)
    end = session.marks
    steps = 0
    while session.undo() is not None:
        steps += 1
    assert session.marks == Session(COUNT, forgetful).marks
    for _ in range(steps):
        session.redo()
    assert session.marks == end


@given(st.lists(keys, max_size=30), images)
def test_a_tile_key_touches_its_own_picture_only(pressed: list[Key], image: int) -> None:
    session = Session(COUNT, forgetful)
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
    session = Session(COUNT, forgetful)
    for key in pressed:
        press(session, key)
    before = session.labels
    session.commit(list(page))
    after = session.labels
    for image in range(COUNT):
        expected = before.good[image]
        if image in page and expected is None:
            expected = False
        assert after.good[image] is expected
    assert after.best == before.best


@settings(max_examples=30, deadline=None)
@given(st.lists(keys, max_size=25), st.lists(keys, max_size=10))
def test_the_journal_tells_the_same_and_a_resumed_session_goes_on_as_if_never_left(
    before: list[Key], after: list[Key]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        journal.add_round(3)

        def record(marks: Sequence[Mark], kind: str) -> None:
            journal.mark(3, marks, source="person", kind=kind)

        session = Session(COUNT, record)
        for key in before:
            press(session, key)
        assert journal.labels(3, COUNT) == session.labels
        resumed = Session.resumed(COUNT, forgetful, journal.history(3))
        assert resumed.marks == session.marks
        for key in after:
            assert press(resumed, key) == press(session, key)
        assert resumed.marks == session.marks
        journal.close()


def test_a_step_that_the_journal_refuses_does_not_happen() -> None:
    def full(marks: Sequence[Mark], kind: str) -> None:
        raise OSError("no space left on device")

    session = Session(COUNT, full)
    with pytest.raises(OSError, match="no space"):
        session.toggle_good(2)
    assert session.label(2) is None
    assert session.undo() is None


def test_good_again_on_a_committed_page_is_bad_and_elsewhere_unmarked() -> None:
    session = Session(COUNT, forgetful)
    session.toggle_good(0)
    session.toggle_good(5)
    session.commit(range(4))
    session.toggle_good(0)
    session.toggle_good(5)
    assert session.label(0) is False
    assert session.label(5) is None


def test_the_first_good_is_the_first_marked_not_the_first_shown() -> None:
    session = Session(COUNT, forgetful)
    for image in (7, 2, 9):
        session.toggle_good(image)
    session.name_first_good()
    assert session.labels.best == 7


def test_pictures_that_do_not_exist_cannot_be_marked() -> None:
    session = Session(COUNT, forgetful)
    for bad in (-1, COUNT):
        with pytest.raises(IndexError, match=str(bad)):
            session.toggle_good(bad)
