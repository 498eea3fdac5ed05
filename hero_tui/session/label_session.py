"""The labelling of one round as a pure model: marks, undo and redo, without any terminal.

Marks belong to pictures by their index in the round, never to places on the screen, so paging and
resizing cannot move them. Every change is recorded (durably, by the recorder) before it is true
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, cast

from hero_engine.core.labels import Labels
from hero_engine.storage.journal import HistoryRow, Mark, Value

Kind = Literal["mark", "skip", "commit", "undo", "redo"]
Recorder = Callable[[Sequence[Mark], Kind], None]
"""Writes one step's changes as one transaction, or raises and thereby stops the step."""


class NotRecorded(Exception):  # noqa: N818 - said already, and no error of the session
    """The recorder could not write the step down, and has told why: nothing happens."""


@dataclass(frozen=True)
class Marks:
    """What every picture of the round is labelled as.

    `labels[i]` is True (good), False (bad) or None; `goods` lists the good ones in the order they
    were marked; `best` is one of them or None; `committed` are the pictures of committed pages;
    `skipped` are those that a commit leaves without a label.
    """

    labels: tuple[bool | None, ...]
    best: int | None = None
    goods: tuple[int, ...] = ()
    committed: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()

    def marked(self, mark: Mark) -> Marks:
        """These marks with one more, by the journal's meaning.

        Last write wins, best implies good.
        """
        if mark.value == "unbest":
            return replace(self, best=None if self.best == mark.image else self.best)
        good = mark.value in {"good", "best"}
        labels = list(self.labels)
        labels[mark.image] = True if good else None if mark.value == "clear" else False
        goods = tuple(image for image in self.goods if image != mark.image)
        if good:
            goods = self.goods if mark.image in self.goods else (*self.goods, mark.image)
        best = mark.image if mark.value == "best" else self.best
        return replace(
            self,
            labels=tuple(labels),
            goods=goods,
            best=best if best in goods else None,
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
        if self.best is not None and wanted.best is None and wanted.labels[self.best]:
            marks.append(Mark(self.best, "unbest"))
        if wanted.best is not None and wanted.best != self.best:
            marks.append(Mark(wanted.best, "best"))
        return tuple(marks)


def _value(label: bool | None) -> Value:
    return "clear" if label is None else "good" if label else "bad"


class LabelSession:
    """The marks of one round with their whole history; every method that changes returns the
    pictures touched.

    A picture index out of range raises IndexError. Nothing changes when the recorder raises;
    `NotRecorded` is no error here, but a step that touched no picture.
    """

    def __init__(self, count: int, record: Recorder) -> None:
        self._record = record
        self._marks = Marks((None,) * count)
        self._undo: list[Marks] = []
        self._redo: list[Marks] = []

    @classmethod
    def resumed(cls, count: int, record: Recorder, history: Iterable[HistoryRow]) -> LabelSession:
        """The session that left this history in the journal, with its undo and redo."""
        session = cls(count, record)
        for _, rows in groupby(history, key=lambda row: row.step):
            session._replay(list(rows))
        return session

    @property
    def labels(self) -> Labels:
        """The labels as the engine will read them."""
        return Labels(good=self._marks.labels, best=self._marks.best)

    @property
    def marks(self) -> Marks:
        """The marks, with their order."""
        return self._marks

    def label(self, image: int) -> bool | None:
        """True for good, False for bad, None for not labelled."""
        return self._marks.labels[self._checked(image)]

    @property
    def complete(self) -> bool:
        """Whether every page is committed."""
        return len(self._marks.committed) == len(self._marks.labels)

    def toggle_good(self, image: int) -> tuple[int, ...]:
        """Good becomes unmarked (bad, on a committed page); anything else becomes good."""
        return self.mark_all([image], good=not self.label(image))

    def toggle_best(self, image: int) -> tuple[int, ...]:
        """Makes the picture the best (and good); on the best, takes that away (it stays good)."""
        is_best = self._marks.best == self._checked(image)
        return self._step([Mark(image, "unbest" if is_best else "best")], "mark")

    def name_best(self, image: int) -> tuple[int, ...]:
        """Make the picture the best; nothing happens where it is."""
        return () if self._marks.best == self._checked(image) else self.toggle_best(image)

    def say_bad(self, image: int) -> tuple[int, ...]:
        """Bad, said outright: it needs no commit."""
        return self._step([Mark(self._checked(image), "bad")], "mark")

    def mark_all(self, images: Sequence[int], *, good: bool) -> tuple[int, ...]:
        """Make them all good, or all not good. All of it is one step."""
        return self._step([self._as(self._checked(image), good) for image in images], "mark")

    def invert(self, images: Sequence[int]) -> tuple[int, ...]:
        """Good for not good, and the reverse; what is skipped stays so. All of it is one step."""
        images = [image for image in images if image not in self._marks.skipped]
        return self._step([self._as(image, not self.label(image)) for image in images], "mark")

    def toggle_skip(self, image: int) -> tuple[int, ...]:
        """Leaves the picture without a label, also when its page is committed; or takes that
        back."""
        if self._checked(image) in self._marks.skipped:
            return self.mark_all([image], good=False)
        return self._step([Mark(image, "clear")], "skip")

    def commit(self, images: Sequence[int], *, rest_bad: bool = True) -> tuple[int, ...]:
        """Fix the labels of a page: what is unmarked becomes bad, or stays without a label.

        All of it is one step.
        """
        if all(self._checked(image) in self._marks.committed for image in images):
            return ()
        return self._step([self._settled(image, rest_bad) for image in images], "commit")

    def name_first_good(self) -> tuple[int, ...]:
        """Make the first picture that was marked good the best."""
        return self.name_best(self._marks.goods[0]) if self._marks.goods else ()

    def undo(self) -> tuple[int, ...] | None:
        """Take back the last step; None when there is none."""
        return self._travel(self._undo, self._redo, "undo")

    def redo(self) -> tuple[int, ...] | None:
        """Do again what was taken back last; None when there is nothing."""
        return self._travel(self._redo, self._undo, "redo")

    def _checked(self, image: int) -> int:
        if not 0 <= image < len(self._marks.labels):
            raise IndexError(f"image {image} of {len(self._marks.labels)}")
        return image

    def _as(self, image: int, good: bool) -> Mark:
        """Good; or not good, which on a committed page is bad."""
        taken_back: Value = "bad" if image in self._marks.committed else "clear"
        return Mark(image, "good" if good else taken_back)

    def _settled(self, image: int, rest_bad: bool = True) -> Mark:
        """The mark that a commit records for a picture."""
        if image == self._marks.best:
            return Mark(image, "best")
        label = self._marks.labels[image]
        unmarked = rest_bad and label is None and image not in self._marks.skipped
        return Mark(image, "bad" if unmarked else _value(label))

    def _step(self, marks: Sequence[Mark], kind: Kind) -> tuple[int, ...]:
        """Record the marks as one step and make it, unless it would change nothing."""
        after = self._marks.stepped(marks, kind)
        if after == self._marks:
            return ()
        try:
            self._record(marks, kind)
        except NotRecorded:
            return ()
        return self._advance(after)

    def _advance(self, after: Marks) -> tuple[int, ...]:
        before, self._marks = self._marks, after
        self._undo.append(before)
        self._redo.clear()
        return _touched(before, after)

    def _travel(
        self, source: list[Marks], target: list[Marks], kind: Kind
    ) -> tuple[int, ...] | None:
        if not source:
            return None
        before, after = self._marks, source[-1]
        try:
            self._record(before.difference(after) or self._affirmed(after), kind)
        except NotRecorded:
            return ()
        target.append(before)
        self._marks = source.pop()
        return _touched(before, after)

    def _affirmed(self, after: Marks) -> tuple[Mark, ...]:
        """A mark that changes no label: the row that remembers the undo of a step without any."""
        image = min(_touched(self._marks, after), default=0)
        return (self._settled(image, rest_bad=False),)

    def _replay(self, rows: list[HistoryRow]) -> None:
        """One recorded step.

        Undo and redo travel, so that what was undone can be redone after a resume.
        """
        kind = rows[0].kind
        source, target = (self._undo, self._redo) if kind == "undo" else (self._redo, self._undo)
        if kind in {"undo", "redo"} and source:
            target.append(self._marks)
            self._marks = source.pop()
            return
        known = kind if kind in {"skip", "commit"} else "mark"
        marks = [Mark(row.image, row.value) for row in rows]
        self._advance(self._marks.stepped(marks, cast(Kind, known)))


def _touched(before: Marks, after: Marks) -> tuple[int, ...]:
    """Pictures whose label, being the best, being skipped or committed differs."""
    changed = set(before.committed ^ after.committed | before.skipped ^ after.skipped)
    changed |= {i for i, old in enumerate(before.labels) if old != after.labels[i]}
    if before.best != after.best:
        changed |= {image for image in (before.best, after.best) if image is not None}
    return tuple(sorted(changed))
