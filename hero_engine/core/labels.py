"""Labels of a round, and what a sequence of marks means: the one definition of both.

The journal, the labelling screen and the engine all replay marks by `RoundMarks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

MarkValue = Literal["good", "bad", "clear", "best", "unbest"]


@dataclass(frozen=True)
class Mark:
    """One image's new value.

    "best" makes it good and the round's best; "unbest" takes best away and leaves it good; "clear"
    makes it unlabelled.
    """

    image: int
    value: MarkValue


@dataclass(frozen=True)
class Labels:
    """good: for each image True, False, or None where it is unlabelled.

    best: the index of the round's best image, which is good; None where there is none.
    best_assumed: no best was named; it is the image that was marked good first.
    """

    good: tuple[bool | None, ...]
    best: int | None = None
    best_assumed: bool = False

    def __post_init__(self) -> None:
        if self.best is None:
            return
        if not 0 <= self.best < len(self.good):
            raise ValueError(f"best is image {self.best}, but there are {len(self.good)}")
        if self.good[self.best] is not True:
            raise ValueError(f"best is image {self.best}, which is not labelled good")

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
        """Indices of the good images without the best."""
        return tuple(index for index in self.goods if index != self.best)

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

    good: as in `Labels`. goods: the good images in the order in which they became good. best: the
    best image, which is good; None where there is none.
    """

    good: tuple[bool | None, ...]
    goods: tuple[int, ...] = ()
    best: int | None = None

    @classmethod
    def replayed(cls, count: int, marks: Iterable[Mark]) -> Self:
        """The result of these marks on `count` unlabelled images; marks beyond them are ignored."""
        result = cls((None,) * count)
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
        best = image if value == "best" else self.best
        keeps_best = value in ("good", "best") or best != image
        return type(self)(good, goods, best if keeps_best else None)

    @property
    def first_good(self) -> int | None:
        """The image that has been good the longest; None without good images."""
        return self.goods[0] if self.goods else None

    def labels(self, *, best_required: bool = False) -> Labels:
        """The labels that these marks give.

        best_required: no best is known from earlier rounds, so where these marks name none it is
        the first good image.
        """
        if self.best is None and best_required and self.first_good is not None:
            return Labels(self.good, self.first_good, best_assumed=True)
        return Labels(self.good, self.best)
