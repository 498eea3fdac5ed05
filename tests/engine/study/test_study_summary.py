"""Means, intervals and labels needed, by hand and against published tables; tables and plots."""

import math
import statistics
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.core.errors import ExitCode
from hero_engine.study.figures import BASE, PROMPT, Point, read_points, write_points
from hero_engine.study.methods import parse_methods
from hero_engine.study.plan import Plan
from hero_engine.study.plots import Curve, draw
from hero_engine.study.report import by_labels_table, sparkline, write_report
from hero_engine.study.run_study import Outcome, read_study, within
from hero_engine.study.settings_table import add_settings, settings_hash
from hero_engine.study.summary import STUDENT_T_95, labels_needed, mean_of, summarise

MADE = "hero 1, torch 2, threads 1"


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


def trial(method: str, seed: int, *rates: float, guided: bool = False) -> list[Point]:
    """A trial of `hands` that was scored every 64 labels."""
    points = [
        Point(
            "full", "hands", method, "judge", seed, 128,
            "eta 1" if method == "hero" else "eta 0.5", 64 * at, rate, 4.0, 3.0,
            near_copies=0.125 * at,
            guided=round(rate + 0.1, 6) if guided else None, kl=10.0 * at, settings="abc",
            made_with=MADE,
        )
        for at, rate in enumerate(rates, start=1)
    ]  # fmt: skip
    return [*points[:-1], replace(points[-1], transfer=0.5)]


def baselines(sampler: str, rate: float) -> list[Point]:
    base = Point(
        "full", "hands", BASE, "judge", None, 128, sampler, 0, rate, 8.0, 6.0, transfer=0.3
    )  # fmt: skip
    better = replace(
        base, method=f"{PROMPT}a fine hand", fresh=0.7, diversity=2.0, good_diversity=None
    )
    return [base, replace(better, transfer=None)]


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    plan = Plan(("hands",), parse_methods("hero,sft"), (0, 1), tmp_path, labels=192)
    points = [
        *baselines("eta 1", 0.3),
        *baselines("eta 0.5", 0.4),
        *trial("hero", 0, 0.5, 0.8, guided=True),
        *trial("hero", 1, 0.6, 0.7, 0.9, guided=True),
        *trial("sft", 0, 0.5, 0.55),
    ]
    return Outcome(plan, points, 1, [])


def test_a_summary_is_at_the_labels_that_all_seeds_have(outcome: Outcome) -> None:
    hero, sft = summarise(outcome, (0.6, 0.85))
    assert (hero.method, hero.seeds, hero.labels) == ("hero", 2, 128)
    assert (hero.fresh, hero.base, sft.base) == (mean_of([0.8, 0.7]), 0.3, 0.4)
    assert hero.guided == mean_of([0.9, 0.8])
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


def test_a_smaller_budget_leaves_fewer_points() -> None:
    """Rounds are whole: a budget of 65 labels ends with the second round of 64."""
    points = trial("hero", 0, 0.5, 0.6, 0.7)
    for labels, kept in [(1, 1), (64, 1), (65, 2), (128, 2), (130, 3), (192, 3), (512, 3)]:
        less = within(points, labels)
        assert [point.fresh for point in less] == [0.5, 0.6, 0.7][:kept]
        assert less[-1].transfer == (0.5 if kept == 3 else None)


def test_a_table_says_what_the_folder_said(outcome: Outcome, tmp_path: Path) -> None:
    """Written and read again: the same points for the same plan, and no others."""
    table = tmp_path / "figures.csv"
    others = [replace(outcome.points[4], study="quick"), replace(outcome.points[4], images=64)]
    write_points(table, [*outcome.points, *others])
    assert read_points(table) == [*outcome.points, *others]
    plan = replace(outcome.plan, out=table)
    again = read_study(plan)
    assert sorted(map(repr, again.points)) == sorted(map(repr, outcome.points))
    assert again.missing == 3  # two trials stop early, one seed of sft is not there
    assert summarise(again, (0.6,)) == summarise(outcome, (0.6,))
    with refused(ExitCode.RUN, "has no figures for these tasks, methods and seeds yet"):
        read_study(replace(plan, study="tuning"))


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "task,seed\nhands,x\n"])
def test_another_csv_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content)
    if content:
        with refused(ExitCode.RUN, "is not a table of figures"):
            read_points(path)
    else:
        assert read_points(path) == []
    with refused(ExitCode.RUN, "cannot read"):
        read_points(tmp_path / "gone.csv")


RUN = {
    "update": "forward", "batch": 64, "seed": 3, "forward.steps": 40, "ddpo.microbatch": 2,
}  # fmt: skip


def test_a_hash_is_of_the_settings_that_a_run_uses() -> None:
    same = [RUN, {**RUN, "seed": 4, "ddpo.microbatch": 9, "labels": 9, "tracker": "wandb"}]
    assert len({settings_hash(each) for each in same}) == 1
    other = [{**RUN, "batch": 32}, {**RUN, "forward.steps": 9}, {**RUN, "update": "ddpo"}]
    assert len({settings_hash(each) for each in [RUN, *other]}) == 4


def test_settings_are_kept_by_their_hash(tmp_path: Path) -> None:
    """The common values once, then what differs; what was written stays as it is."""
    path, other = tmp_path / "settings.toml", {**RUN, "forward.steps": 9}
    add_settings(path, [RUN, RUN, other])
    known = tomllib.loads(path.read_text())
    assert known["common"] == {"update": "forward", "batch": 64, "forward.steps": 40}
    assert known[settings_hash(RUN)] == {}
    assert known[settings_hash(other)] == {"forward.steps": 9}
    third = {**RUN, "batch": 16}
    add_settings(path, [third, third, third, third])
    assert tomllib.loads(path.read_text()) == known | {settings_hash(third): {"batch": 16}}


def test_report(outcome: Outcome, tmp_path: Path) -> None:
    report = write_report(outcome, "hero bench learn --x", (0.6, 0.85))
    text = (tmp_path / "results.md").read_text("utf-8")
    assert text.startswith("# `hero bench learn --x`\n")
    assert "1 of the runs are not finished." in text and MADE in text
    for line in [
        "| hands | *base, eta 1* | 0 |  | 0.300 |  |  |  | 1.00 | 1.00 | 0.01 | 0 | 0.300 |",
        "| hands | *base, eta 0.5* | 0 |  | 0.400 |  |  |  | 1.00 | 1.00 | 0.01 | 0 | 0.300 |",
        "| hands | *“a fine hand”* | 0 |  | 0.700 |  |  |  | 0.25 |  |  |  |  |",
        "| hands | sft | 128 | 1 | 0.550 |  |  | ▄▅▅ | 0.50 | 0.50 | 0.25 | 20 | 0.500 |",
        "| task | method | seeds | 0 labels | 64 | 128 |",
        "| hands | hero | 2 | 0.30 | 0.55 ± 0.64 | 0.75 ± 0.64 |",  # half: 12.706 * .05
        "| hands | sft | 1 | 0.40 | 0.50 | 0.55 |",
        "| hands | hero | 75 ± 136 | 176 (1 of 2 seeds) |",
        "| hands | sft | not by 128 | not by 128 |",
        # hero: .3, .55, .75; sft: .4, .5, .55
        "| hands | sft | 0.550 with 128 | 64 (0.50 times) | 0.750 with 128 | "
        "more than 128 (> 1.0 times) |",
    ]:
        assert line in text
    assert (
        report.plots == [tmp_path / "hands.png"] and report.plots[0].read_bytes()[:4] == b"\x89PNG"
    )
    assert (tmp_path / "summary.json").exists()
    assert read_points(tmp_path / "figures.csv") == outcome.points


def test_a_table_by_labels_has_at_most_eight_scores(outcome: Outcome) -> None:
    rates = [0.01 * at for at in range(1, 20)]
    points = [*outcome.points[:4], *trial("hero", 0, *rates), *trial("sft", 0, 0.5)]
    rows = summarise(replace(outcome, points=points), ())
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
