"""Is the tuned model better? A verdict from two success rates, and how many pictures it needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

Answer = Literal["better", "worse", "undecided"]

SMALLEST = 0.05
"""The smallest difference to look for: a smaller one needs thousands of pictures."""


@dataclass(frozen=True)
class Verdict:
    """The answer, and about how many pictures of each model would decide; 0 if decided."""

    answer: Answer
    needed: int = 0

    def sentence(self) -> str:
        """One sentence, with what to do next."""
        if self.answer == "better":
            return "Better: the tuned model succeeds more often than its base."
        if self.answer == "worse":
            return "Worse: the tuned model succeeds less often than its base."
        return (
            "Too few pictures to tell: about "
            f"{self.needed} of each model would decide (--images {self.needed})."
        )


def verdict(difference: float, interval: tuple[float, float], count: int) -> Verdict:
    """The verdict on a difference of success rates, tuned minus base.

    interval: its 95% interval. count: pictures of each model, or pairs. An interval narrows with
    the root of the count, so `needed` is what makes it exclude 0 for a difference like this one.
    """
    low, high = interval
    if low > 0:
        return Verdict("better")
    if high < 0:
        return Verdict("worse")
    half = (high - low) / 2
    size = max(abs(difference), SMALLEST)
    needed = ceil(count * (half / size) ** 2)
    return Verdict("undecided", _rounded(max(needed, count + 1)))


def difference_interval(
    first: float,
    first_interval: tuple[float, float],
    second: float,
    second_interval: tuple[float, float],
) -> tuple[float, float]:
    """The 95% interval of first minus second, from two Wilson intervals.

    (Newcombe: Interval estimation for the difference between independent proportions, 1998,
    method 10.) On the same noises the rates go together, so the true interval is no wider.
    """
    gap = first - second
    low = gap - sqrt((first - first_interval[0]) ** 2 + (second_interval[1] - second) ** 2)
    high = gap + sqrt((first_interval[1] - first) ** 2 + (second - second_interval[0]) ** 2)
    return max(-1.0, low), min(1.0, high)


def _rounded(count: int) -> int:
    """Up to two digits: 137 becomes 140, since it is an estimate."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return ceil(count / step) * step
