"""Finding the best of the good pictures two at a time: k - 1 decisions for k pictures."""

from __future__ import annotations

from collections.abc import Sequence


class Tournament:
    """The best so far against each other candidate in turn.

    candidates: at least two pictures. best: who begins as the best so far, the first candidate
    where it is None. Nothing outside is changed.
    """

    def __init__(self, candidates: Sequence[int], best: int | None) -> None:
        first = candidates[0] if best is None else best
        self.challengers = [image for image in candidates if image != first]
        self._bests = [first]

    @property
    def best(self) -> int:
        """The best so far."""
        return self._bests[-1]

    @property
    def decided(self) -> int:
        """Decisions so far."""
        return len(self._bests) - 1

    @property
    def challenger(self) -> int | None:
        """The picture compared with the best now; None if all is decided."""
        return self.challengers[self.decided] if self.decided < len(self.challengers) else None

    def decide(self, *, replace: bool) -> None:
        """Keep the best or replace it by the challenger; nothing when all is decided."""
        challenger = self.challenger
        if challenger is not None:
            self._bests.append(challenger if replace else self.best)

    def back(self) -> bool:
        """Take the last decision back; False if there is none."""
        if not self.decided:
            return False
        self._bests.pop()
        return True
