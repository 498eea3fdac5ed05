"""Labels of a round, and what a sequence of marks means: the one definition of both.

The journal, the labelling screen and the engine all replay marks by `RoundMarks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

MarkValue = Literal["good", "bad", "clear", "best", "unbest"]


@dataclass(frozen=True)
class Mark:
    """One image's new value.

    "best" makes it good and its prompt's best; "unbest" takes best away and leaves it good; "clear"
    makes it unlabelled.
    """

    image: int
    value: MarkValue


@dataclass(frozen=True)
class Labels:
    """good: for each image True, False, or None if it is unlabelled.

    bests: indices of the best images, which are good, in order; one of each prompt at most.
    best_assumed: no best was named; it is the image that was marked good first.
    """

    good: tuple[bool | None, ...]
    bests: tuple[int, ...] = ()
    best_assumed: bool = False

    def __post_init__(self) -> None:
        for best in self.bests:
            if not 0 <= best < len(self.good):
                raise ValueError(f"best is image {best}, but there are {len(self.good)}")
            if self.good[best] is not True:
                raise ValueError(f"best is image {best}, which is not labelled good")

    @property
    def best(self) -> int | None:
        """The first of the best images; None if there is none."""
        return self.bests[0] if self.bests else None

    @property
    def goods(self) -> tuple[int, ...]:
        """Indices of the good images, best included."""
        return tuple(index for index, good in enumerate(self.good) if good is True)

    @property
    def bads(self) -> tuple[int, ...]:
        """Indices of the bad images."""
        return tuple(index for index, good in enumerate(self.good) if good is False)

    @property
    def others(self) -> tuple[int, ...]:
        """Indices of the good images without the best ones."""
        return tuple(index for index in self.goods if index not in self.bests)

    @property
    def unlabelled(self) -> tuple[int, ...]:
        """Indices of the images without a label."""
        return tuple(index for index, good in enumerate(self.good) if good is None)

    @property
    def labelled(self) -> int:
        """The number of images with a label."""
        return len(self.goods) + len(self.bads)


@dataclass(frozen=True)
class RoundMarks:
    """The result of a round's marks: the last mark on an image decides.

    good: as in `Labels`. goods: the good images in the order in which they became good. bests: the
    best images, which are good, in order; one of each group at most. groups: the group (prompt) of
    each image; empty if all are of one.
    """

    good: tuple[bool | None, ...]
    goods: tuple[int, ...] = ()
    bests: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    @classmethod
    def replayed(cls, count: int, marks: Iterable[Mark], groups: Sequence[int] = ()) -> Self:
        """The result of these marks on `count` unlabelled images; marks beyond them are ignored."""
        result = cls((None,) * count, groups=tuple(groups))
        for mark in marks:
            if 0 <= mark.image < count:
                result = result.after(mark)
        return result

    def after(self, mark: Mark) -> Self:
        """The result of one more mark. IndexError for an image out of range."""
        image, value = mark.image, mark.value
        if not 0 <= image < len(self.good):
            raise IndexError(f"image {image} of {len(self.good)}")
        label = {"clear": None, "bad": False}.get(value, True)
        good = (*self.good[:image], label, *self.good[image + 1 :])
        if not label:
            goods = tuple(each for each in self.goods if each != image)
        else:
            goods = self.goods if image in self.goods else (*self.goods, image)
        return type(self)(good, goods, self._bests_after(mark), self.groups)

    def _bests_after(self, mark: Mark) -> tuple[int, ...]:
        if mark.value == "good":
            return self.bests
        if mark.value == "best":
            replaced = self.best_of(self.group(mark.image))
            return tuple(sorted({mark.image, *self.bests} - ({replaced} - {mark.image})))
        return tuple(each for each in self.bests if each != mark.image)

    def group(self, image: int) -> int:
        """The group of an image."""
        return self.groups[image] if self.groups else 0

    def best_of(self, group: int) -> int | None:
        """The best image of a group; None if it has none."""
        return next((each for each in self.bests if self.group(each) == group), None)

    def first_good(self, group: int = 0) -> int | None:
        """The image of a group that has been good the longest; None without good images."""
        return next((each for each in self.goods if self.group(each) == group), None)

    def assumed_bests(self, best_required: Collection[int]) -> tuple[int, ...]:
        """The first good image of each of these groups that has good ones and names no best."""
        wanted = (each for each in best_required if self.best_of(each) is None)
        return tuple(sorted(i for i in map(self.first_good, wanted) if i is not None))

    def labels(self, best_required: Collection[int] = ()) -> Labels:
        """The labels that these marks give.

        best_required: groups that no earlier round has a best of; see `assumed_bests`.
        """
        assumed = self.assumed_bests(best_required)
        return Labels(self.good, tuple(sorted((*self.bests, *assumed))), bool(assumed))
