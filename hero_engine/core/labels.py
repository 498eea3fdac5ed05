"""A round's labels: what a person said of each picture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Labels:
    """good: per picture True, False, or None where unlabelled.

    best: the index of the round's best picture, which is then good; None where none was named.
    """

    good: tuple[bool | None, ...]
    best: int | None = None

    def __post_init__(self) -> None:
        if self.best is None:
            return
        if not 0 <= self.best < len(self.good):
            raise ValueError(f"best is image {self.best}, but there are {len(self.good)}")
        if self.good[self.best] is not True:
            raise ValueError(f"best is image {self.best}, which is not labelled good")

    @property
    def goods(self) -> tuple[int, ...]:
        """Indices of the good pictures, best included."""
        return tuple(index for index, good in enumerate(self.good) if good is True)

    @property
    def bads(self) -> tuple[int, ...]:
        """Indices of the bad pictures."""
        return tuple(index for index, good in enumerate(self.good) if good is False)

    @property
    def others(self) -> tuple[int, ...]:
        """Indices of the good pictures without the best."""
        return tuple(index for index in self.goods if index != self.best)

    @property
    def unlabelled(self) -> tuple[int, ...]:
        """Indices of the pictures without a label."""
        return tuple(index for index, good in enumerate(self.good) if good is None)

    @property
    def labelled(self) -> int:
        """How many pictures have a label."""
        return len(self.goods) + len(self.bads)
