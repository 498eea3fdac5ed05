"""The marks of one round with undo and redo, without any terminal.

Marks belong to pictures by their index in the round, never to places on the screen, so paging and
resizing cannot move them. The recorder writes each change durably before it takes effect here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, cast

from hero_engine.core.labels import Labels, Mark, MarkValue, RoundMarks
from hero_engine.storage.journal import HistoryRow
from hero_tui.session.undo_history import UndoHistory

Kind = Literal["mark", "skip", "commit", "undo", "redo"]
Recorder = Callable[[Sequence[Mark], Kind], None]
"""Writes one step's changes as one transaction, or raises and thereby stops the step."""


class NotRecorded(Exception):  # noqa: N818 - the recorder has shown the error already
    """The recorder could not write the step and has shown why: the step does not happen."""


@dataclass(frozen=True)
class Marks:
    """What every picture of the round is labelled as.

    `labels[i]` is True (good), False (bad) or None; `goods` lists the good ones in the order they
    were marked; `bests` are the best ones, one of each prompt at most; `groups` are the numbers of
    the pictures' prompts, empty if all have one; `committed` are the pictures of committed
    pages; `skipped` are those that a commit leaves without a label.
    """

    labels: tuple[bool | None, ...]
    bests: tuple[int, ...] = ()
    goods: tuple[int, ...] = ()
    committed: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()
    groups: tuple[int, ...] = ()

    @property
    def replayed(self) -> RoundMarks:
        """The marks as the journal and the engine understand them."""
        return RoundMarks(self.labels, self.goods, self.bests, self.groups)

    @property
    def best(self) -> int | None:
        """The first of the best pictures; None if there is none."""
        return self.bests[0] if self.bests else None

    def rival(self, image: int) -> int | None:
        """The best picture of this picture's prompt; None if there is none."""
        return self.replayed.best_of(self.replayed.group(image))

    def goods_beside(self, image: int) -> tuple[int, ...]:
        """The good pictures of this picture's prompt, in the order in which they were marked."""
        group = self.replayed.group
        return tuple(each for each in self.goods if group(each) == group(image))

    def marked(self, mark: Mark) -> Marks:
        """These marks with one more."""
        after = self.replayed.after(mark)
        return replace(
            self,
            labels=after.good,
            goods=after.goods,
            bests=after.bests,
            skipped=self.skipped - {mark.image},
        )

    def stepped(self, marks: Sequence[Mark], kind: Kind) -> Marks:
        """These marks after one recorded step, of any kind but undo and redo.

        A skip, and a commit, skip what they leave without a label.
        """
        after = self
        for mark in marks:
            after = after.marked(mark)
        if kind == "mark":
            return after
        skipped = {mark.image for mark in marks if mark.value == "clear"}
        committed = {mark.image for mark in marks} if kind == "commit" else set()
        return replace(
            after, skipped=after.skipped | skipped, committed=after.committed | committed
        )

    def difference(self, wanted: Marks) -> tuple[Mark, ...]:
        """The marks that lead from here to the wanted labels and best."""
        marks = [
            Mark(image, _value(after))
            for image, (before, after) in enumerate(zip(self.labels, wanted.labels, strict=True))
            if before != after
        ]
        for image in self.bests:
            if wanted.labels[image] and wanted.rival(image) is None:
                marks.append(Mark(image, "unbest"))
        marks += [Mark(image, "best") for image in wanted.bests if image not in self.bests]
        return tuple(marks)


def _value(label: bool | None) -> MarkValue:
    return "clear" if label is None else "good" if label else "bad"


class LabelSession:
    """The marks of one round and their undo history. A method that changes marks returns the
    pictures it touched.

    A picture index out of range raises IndexError. Nothing changes when the recorder raises.
    `NotRecorded` does not leave the session: the step touched no picture.
    """

    def __init__(self, count: int, record: Recorder, groups: Sequence[int] = ()) -> None:
        self._record = record
        self._history = UndoHistory(Marks((None,) * count, groups=tuple(groups)))

    @classmethod
    def resumed(
        cls,
        count: int,
        record: Recorder,
        history: Iterable[HistoryRow],
        groups: Sequence[int] = (),
    ) -> LabelSession:
        """The session that left this history in the journal, with its undo and redo.

        groups: the numbers of the pictures' prompts; empty if all have one.
        """
        session = cls(count, record, groups)
        for _, rows in groupby(history, key=lambda row: row.step):
            session._replay(list(rows))
        return session

    @property
    def labels(self) -> Labels:
        """The labels as the engine will read them."""
        return Labels(good=self.marks.labels, bests=self.marks.bests)

    @property
    def marks(self) -> Marks:
        """The marks, with their order."""
        return self._history.current

    def label(self, image: int) -> bool | None:
        """True for good, False for bad, None for not labelled."""
        return self.marks.labels[self._checked(image)]

    @property
    def complete(self) -> bool:
        """Whether every page is committed."""
        return len(self.marks.committed) == len(self.marks.labels)

    def toggle_good(self, image: int) -> tuple[int, ...]:
        """Make the picture good; a good one becomes unmarked, or bad on a committed page."""
        return self.mark_all([image], good=not self.label(image))

    def toggle_best(self, image: int) -> tuple[int, ...]:
        """Make the picture the best (and good); on the best, take that back (it stays good)."""
        is_best = self._checked(image) in self.marks.bests
        return self._step([Mark(image, "unbest" if is_best else "best")], "mark")

    def name_best(self, image: int) -> tuple[int, ...]:
        """Make the picture the best, unless it is."""
        return () if self._checked(image) in self.marks.bests else self.toggle_best(image)

    def say_bad(self, image: int) -> tuple[int, ...]:
        """Mark as bad, without a commit."""
        return self._step([Mark(self._checked(image), "bad")], "mark")

    def mark_all(self, images: Sequence[int], *, good: bool) -> tuple[int, ...]:
        """Make all of them good, or none. One step."""
        return self._step([self._as(self._checked(image), good) for image in images], "mark")

    def invert(self, images: Sequence[int]) -> tuple[int, ...]:
        """Invert the marks: good and not good change places, skipped pictures stay skipped. One
        step."""
        images = [image for image in images if image not in self.marks.skipped]
        return self._step([self._as(image, not self.label(image)) for image in images], "mark")

    def toggle_skip(self, image: int) -> tuple[int, ...]:
        """Leave the picture without a label, also when its page is committed; on a skipped
        picture, take that back."""
        if self._checked(image) in self.marks.skipped:
            return self.mark_all([image], good=False)
        return self._step([Mark(image, "clear")], "skip")

    def commit(self, images: Sequence[int], *, rest_bad: bool = True) -> tuple[int, ...]:
        """Commit a page: unmarked pictures become bad, or stay without a label. One step."""
        if all(self._checked(image) in self.marks.committed for image in images):
            return ()
        return self._step([self._settled(image, rest_bad) for image in images], "commit")

    def name_bests(self, images: Iterable[int]) -> tuple[int, ...]:
        """Make these pictures the best ones of their prompts. One step."""
        return self._step([Mark(self._checked(image), "best") for image in images], "mark")

    def undo(self) -> tuple[int, ...] | None:
        """Take back the last step; None when there is none."""
        return self._move_to(self._history.earlier, "undo", self._history.undo)

    def redo(self) -> tuple[int, ...] | None:
        """Repeat the step that was undone last; None when there is none."""
        return self._move_to(self._history.later, "redo", self._history.redo)

    @property
    def steps(self) -> int:
        """How many steps undo can take back."""
        return self._history.position

    def undo_to(self, steps: int) -> tuple[int, ...]:
        """Undo until this many steps are left; returns the pictures touched."""
        touched = set[int]()
        while self.steps > steps and (changed := self.undo()):
            touched |= set(changed)
        return tuple(sorted(touched))

    def _checked(self, image: int) -> int:
        if not 0 <= image < len(self.marks.labels):
            raise IndexError(f"image {image} of {len(self.marks.labels)}")
        return image

    def _as(self, image: int, good: bool) -> Mark:
        """Good; or not good, which on a committed page is bad."""
        taken_back: MarkValue = "bad" if image in self.marks.committed else "clear"
        return Mark(image, "good" if good else taken_back)

    def _settled(self, image: int, rest_bad: bool = True) -> Mark:
        """The mark that a commit records for a picture."""
        if image in self.marks.bests:
            return Mark(image, "best")
        label = self.marks.labels[image]
        unmarked = rest_bad and label is None and image not in self.marks.skipped
        return Mark(image, "bad" if unmarked else _value(label))

    def _step(self, marks: Sequence[Mark], kind: Kind) -> tuple[int, ...]:
        """Record the marks as one step and take it, unless it would change nothing."""
        before, after = self.marks, self.marks.stepped(marks, kind)
        if after == before or not self._recorded(marks, kind):
            return ()
        self._history.add(after)
        return _touched(before, after)

    def _move_to(
        self, target: Marks | None, kind: Kind, move: Callable[[], None]
    ) -> tuple[int, ...] | None:
        """Record the marks that lead to another state of the history, then move there."""
        if target is None:
            return None
        before = self.marks
        if not self._recorded(before.difference(target) or self._unchanged(target), kind):
            return ()
        move()
        return _touched(before, target)

    def _recorded(self, marks: Sequence[Mark], kind: Kind) -> bool:
        try:
            self._record(marks, kind)
        except NotRecorded:
            return False
        return True

    def _unchanged(self, target: Marks) -> tuple[Mark, ...]:
        """A mark that changes no label: an undone commit of labelled pictures needs a row too."""
        image = min(_touched(self.marks, target), default=0)
        return (self._settled(image, rest_bad=False),)

    def _replay(self, rows: list[HistoryRow]) -> None:
        """Take one step of the journal again, undo and redo included."""
        kind = rows[0].kind
        if kind == "undo" and self._history.earlier is not None:
            self._history.undo()
        elif kind == "redo" and self._history.later is not None:
            self._history.redo()
        else:
            known = kind if kind in {"skip", "commit"} else "mark"
            marks = [Mark(row.image, row.value) for row in rows]
            self._history.add(self.marks.stepped(marks, cast(Kind, known)))


def _touched(before: Marks, after: Marks) -> tuple[int, ...]:
    """Pictures whose label, being the best, being skipped or committed differs."""
    changed = set(before.committed ^ after.committed | before.skipped ^ after.skipped)
    changed |= {i for i, old in enumerate(before.labels) if old != after.labels[i]}
    changed |= {*before.bests} ^ {*after.bests}
    return tuple(sorted(changed))
