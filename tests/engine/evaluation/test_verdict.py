"""A verdict says better or worse only where the interval excludes no difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hero_engine.evaluation.intervals import paired_difference, wilson
from hero_engine.evaluation.verdict import Verdict, difference_interval, verdict


@pytest.mark.parametrize(
    ("tuned", "base", "n", "answer"),
    [(60, 20, 64, "better"), (20, 60, 64, "worse"), (34, 30, 64, "undecided")],
)
def test_the_answer_follows_the_interval(tuned: int, base: int, n: int, answer: str) -> None:
    interval = difference_interval(tuned / n, wilson(tuned, n), base / n, wilson(base, n))
    assert verdict((tuned - base) / n, interval, n).answer == answer


def test_newcombes_published_example() -> None:
    """56/70 against 48/80: 0.0524 to 0.3339 (Newcombe 1998, table II, method 10)."""
    low, high = difference_interval(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(st.integers(2, 200), st.data())
def test_the_needed_number_of_pictures_would_decide(n: int, data: st.DataObject) -> None:
    """The same shares with as many pairs as needed exclude 0, or are too near each other."""
    only_tuned = data.draw(st.integers(0, n))
    only_base = data.draw(st.integers(0, n - only_tuned))
    found = verdict((only_tuned - only_base) / n, paired_difference(only_tuned, only_base, n), n)
    if found.answer != "undecided":
        assert found.needed == 0
        return
    assert found.needed > n
    gap = abs(only_tuned - only_base) / n
    if gap >= 0.1 and n >= 20:
        more = 1.5 * found.needed / n
        low, high = paired_difference(
            round(only_tuned * more), round(only_base * more), round(n * more)
        )
        assert low > 0 or high < 0


def test_a_sentence_says_what_to_do() -> None:
    assert Verdict("undecided", 140).sentence().endswith("(--images 140).")
    assert verdict(0.0, (-0.1, 0.1), 64).needed == 260
