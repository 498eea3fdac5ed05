"""Means, intervals and labels needed, by hand and against published tables; tables and plots."""

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hero_engine.study.methods import read_contenders
from hero_engine.study.plan import Plan
from hero_engine.study.plots import Curve, draw
from hero_engine.study.report import by_labels_table, sparkline, write_report
from hero_engine.study.run_study import Outcome, within
from hero_engine.study.summary import STUDENT_T_95, labels_needed, mean_of, summarise

MADE = {"hero": "1", "python": "3", "torch": "2", "machine": "abacus", "threads": "1"}


def density(x: float, freedom: int) -> float:
    """Student's t."""
    c = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(math.pi * freedom)
    return c * (1 + x * x / freedom) ** (-(freedom + 1) / 2)


@pytest.mark.parametrize("freedom", range(1, len(STUDENT_T_95) + 1))
def test_95_percent_lie_between_the_points_of_students_t(freedom: int) -> None:
    end, steps = STUDENT_T_95[freedom - 1], 2000
    width = end / steps
    middles = (density((i + 0.5) * width, freedom) for i in range(steps))
    assert 2 * width * sum(middles) == pytest.approx(0.95, abs=1e-4)


def test_mean_and_interval() -> None:
    got = mean_of([0.5, 0.7, 0.6])
    assert (got.mean, got.n) == (pytest.approx(0.6), 3)
    assert got.half == pytest.approx(4.303 * 0.1 / math.sqrt(3))
    assert got.text() == "0.600 ± 0.248"
    alone = mean_of([0.25])
    assert (alone.text(2), alone.n) == ("0.25", 1) and alone.half is None
    many = [0.0, 1.0] * 20
    assert mean_of(many).half == pytest.approx(2.086 * statistics.stdev(many) / math.sqrt(40))


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [(0.3, 0), (0.4, 0), (0.5, 32), (0.6, 64), (0.55, 48), (0.8, 224), (0.9, 256), (0.95, None)],
)
def test_labels_needed_lie_on_straight_lines(wanted: float, labels: float | None) -> None:
    """.6 is reached at 64, lost at 128, and reached for good later: the first time counts."""
    points = [(0, 0.4), (64, 0.6), (128, 0.5), (256, 0.9)]
    assert labels_needed(points, wanted) == (None if labels is None else pytest.approx(labels))


def score(rate: float, diversity: float = 8.0, good: float | None = 6.0) -> dict[str, Any]:
    return {"rate": rate, "interval": [0, 1], "diversity": diversity, "good_diversity": good}


def cell(method: str, seed: int, *rates: float, guided: bool = False) -> dict[str, Any]:
    """A point every 64 labels."""
    points = [
        {
            "labels": 64 * at,
            "fresh": score(rate, 4.0, 3.0),
            "guided": score(rate + 0.1) if guided else None,
            "base_guided": None,
            "kl": 10.0 * at,
        }
        for at, rate in enumerate(rates, start=1)
    ]
    found: dict[str, Any] = {"task": "hands", "method": method, "labeller": "judge", "seed": seed}
    found["settings"] = {"sampler.eta": 1.0 if method == "hero" else 0.5}
    return found | {"points": points, "made_with": MADE, "transfer": {"a hand": score(0.5)}}


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    plan = Plan(("hands",), read_contenders("hero,sft"), (0, 1), tmp_path)
    line = {
        "task": "hands",
        "sampler": "eta 0.5",
        "settings": {"eta": 0.5},
        "images": 9,
        "base": score(0.4),
        "enhanced_prompt": "a fine hand",
        "enhanced": score(0.7, 2.0, None),
        "transfer": {"a hand": score(0.3)},
    }
    noisy = line | {"sampler": "eta 1", "settings": {"eta": 1.0}, "base": score(0.3)}
    cells = [
        cell("hero", 0, 0.5, 0.8, guided=True),
        cell("hero", 1, 0.6, 0.7, 0.9, guided=True),
        cell("sft", 0, 0.5, 0.55),
    ]
    return Outcome(plan, [noisy, line], cells, 1)


def test_a_row_is_over_the_labels_that_all_seeds_have(outcome: Outcome) -> None:
    hero, sft = summarise(outcome, (0.6, 0.85))
    assert (hero.method, hero.seeds, hero.labels) == ("hero", 2, 128)
    assert (hero.fresh, hero.base, sft.base) == (mean_of([0.8, 0.7]), 0.3, 0.4)
    assert hero.guided == mean_of([0.8 + 0.1, 0.7 + 0.1])
    assert hero.base_guided is None
    first, both = hero.needed[0.6]
    assert first is not None and (first.mean, both) == (pytest.approx((64 + 64 / 3 + 64) / 2), 2)
    reached, count = hero.needed[0.85]  # by the second seed alone, with labels the first lacks
    assert reached is not None and (reached.mean, count) == (pytest.approx(176), 1)
    assert (hero.diversity.mean, hero.good_diversity) == (0.5, mean_of([0.5, 0.5]))
    assert hero.kl == mean_of([20, 20])
    assert hero.transfer is None  # the second seed's was measured with more labels
    assert sft.transfer == mean_of([0.5])
    assert [(at, mean.mean) for at, mean in hero.curve] == [
        (64, pytest.approx(0.55)),
        (128, pytest.approx(0.75)),
    ]
    assert (sft.seeds, sft.guided, sft.needed[0.6]) == (1, None, (None, 0))


@pytest.mark.parametrize(
    ("labels", "kept"), [(1, 1), (64, 1), (65, 2), (128, 2), (130, 3), (192, 3), (512, 3)]
)
def test_a_smaller_budget_sees_what_it_would_have_left(labels: int, kept: int) -> None:
    """Rounds are whole: a budget of 65 labels ends with the second round of 64."""
    figures = cell("hero", 0, 0.5, 0.6, 0.7)
    less = within(figures, labels)
    assert less["points"] == figures["points"][:kept]
    assert less["transfer"] == (figures["transfer"] if kept == 3 else {})
    assert len(figures["points"]) == 3


def test_report(outcome: Outcome, tmp_path: Path) -> None:
    report = write_report(outcome, "hero bench learn --x", (0.6, 0.85))
    text = (tmp_path / "results.md").read_text("utf-8")
    assert text.startswith("# `hero bench learn --x`\n")
    assert "Not finished: 1 of the runs." in text and "on abacus (1 threads)" in text
    for line in [
        "| hands | *base, eta 1* | 0 |  | 0.300 |  |  |  | 1.00 | 1.00 | 0 | 0.300 |",
        "| hands | *base, eta 0.5* | 0 |  | 0.400 |  |  |  | 1.00 | 1.00 | 0 | 0.300 |",
        "| hands | *“a fine hand”* | 0 |  | 0.700 |  |  |  | 0.25 |  |  |  |",
        "| hands | sft | 128 | 1 | 0.550 |  |  | ▄▅▅ | 0.50 | 0.50 | 20 | 0.500 |",
        "| task | method | seeds | 0 labels | 64 | 128 |",
        "| hands | hero | 2 | 0.30 | 0.55 ± 0.64 | 0.75 ± 0.64 |",  # half: 12.706 * .05
        "| hands | sft | 1 | 0.40 | 0.50 | 0.55 |",
        "| hands | hero | 75 ± 136 | 176 (1 of 2 seeds) |",
        "| hands | sft | not by 128 | not by 128 |",
        # hero: .3, .55, .75; sft: .4, .5, .55
        "| hands | sft | 0.550 with 128 | 64 (0.50 times as many) | 0.750 with 128 | "
        "more than 128 (> 1.0 times as many) |",
    ]:
        assert line in text
    assert (
        report.plots == [tmp_path / "hands.png"] and report.plots[0].read_bytes()[:4] == b"\x89PNG"
    )
    assert (tmp_path / "summary.json").exists()


def test_a_table_by_labels_has_room_for_eight_numbers(outcome: Outcome) -> None:
    rates = [0.01 * at for at in range(1, 20)]
    rows = summarise(replace(outcome, cells=[cell("hero", 0, *rates), cell("sft", 0, 0.5)]), ())
    hero, sft = by_labels_table(rows).rows
    shown = by_labels_table(rows).headers[4:]
    assert shown == ("192", "448", "704", "960", "1216")  # every second of every second
    assert hero[4:] == ("0.03", "0.07", "0.11", "0.15", "0.19") and sft[4:] == ("",) * 5


def test_sparkline() -> None:
    assert sparkline([0, 0.124, 0.126, 0.5, 0.99, 1]) == "▁▁▂▅██"


def test_a_curve_is_drawn_where_its_values_are() -> None:
    """A flat line at .5, in the first colour, through the middle of the axes; a band around it."""
    curve = Curve("one", [(0, 0.5, 0.1), (100, 0.5, 0.1)])
    picture = draw("title", [curve], {"base": 0.25})
    middle = (44 + 560 - 52) // 2
    assert picture.getpixel((300, middle)) == (31, 119, 180)
    band = picture.getpixel((300, middle - 30))
    assert isinstance(band, tuple) and band[2] > band[0] < 255
    assert picture.getpixel((300, middle - 80)) == (255, 255, 255)
    dark = [x for x in range(64, 870) if picture.getpixel((x, 560 - 52 - 116)) == (20, 20, 20)]
    assert 250 < len(dark) < 600  # dashes of the base's level
