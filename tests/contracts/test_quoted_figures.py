"""The documents' tables and plots are made from docs/results/figures.csv."""

import csv
import importlib.util
import re
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from hero_engine.core.errors import HeroError
from hero_engine.study.figures import Point, read_points
from hero_engine.study.methods import parse_methods
from hero_engine.study.plan import Plan
from hero_engine.study.report import plot
from hero_engine.study.run_study import read_study
from hero_engine.study.summary import summarise

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / "docs/results"
FIGURES = read_points(RESULTS / "figures.csv")
STUDY = "--tasks hands --methods hero --seeds 3"
ORDER = f"<!-- quote: By labels | {STUDY} {{}} -->\n"


@pytest.fixture(scope="module")
def quote() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quote", PROJECT / "docs/results/quote.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/learning.md"])
def test_every_quoted_table_matches_the_figures(quote: ModuleType, name: str) -> None:
    text = (PROJECT / name).read_text("utf-8")
    assert quote.quoted(text) == text, "run: python docs/results/quote.py"
    assert name in quote.DOCUMENTS


def test_a_table_that_differs_is_replaced(quote: ModuleType) -> None:
    order = ORDER.format("| method; 0 labels; 512")
    right = (
        f"Before.\n\n{order}"
        "| method | 0 labels | 512 |\n| --- | --- | --- |\n| hero | 0.41 | 0.79 |\n"
        "\nAfter.\n"
    )
    for wrong in ("", "| method |\n| --- |\n| hero |\n", "| hero | 0.99 |\n"):
        assert quote.quoted(f"Before.\n\n{order}{wrong}\nAfter.\n") == right


def test_further_options_print_further_rows(quote: ModuleType) -> None:
    order = ORDER.format("&& --labeller judge:flip=0.1 && --seeds 4 | method; 0 labels; 512")
    rows = quote.quoted(order).splitlines()[3:]
    assert rows == [
        "| hero | 0.41 | 0.79 |",
        "| hero (flip=0.1) | 0.41 | 0.74 |",
        "| hero | 0.41 | 0.72 |",
    ]


def test_a_figure_of_the_text_is_a_cell_of_a_table(quote: ModuleType) -> None:
    text = f"It has <!-- figure: By labels | {STUDY} | 512 -->0.1<!-- end --> and more."
    assert quote.quoted(text).endswith("-->0.79<!-- end --> and more.")
    more = "By labels | --tasks hands,safety --methods hero --seeds 3 |"
    assert [quote.figure(f"{more} {which} 512") for which in ("least", "most")] == ["0.79", "0.99"]
    with pytest.raises(HeroError, match="2 cells"):
        quote.figure(f"{more} 512")


def test_columns_by_task_give_one_row_a_task(quote: ModuleType) -> None:
    order = ORDER.format("--tasks hands,safety | by task; hero: 0 labels; hero: 512")
    assert quote.quoted(order).splitlines()[1:] == [
        "| task | hero: 0 labels | hero: 512 |",
        "| --- | --- | --- |",
        "| hands | 0.41 | 0.79 |",
        "| safety | 0.34 | 0.99 |",
    ]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("| by task; hera: 512", "no column 'hera: 512'; there are: hero: task, "),
        ("| method; label", "no column 'label'; there are: task, method, "),
        ("--seeds 99", "has no figures"),
        ("--sseds 3", "No such option: --sseds"),
    ],
)
def test_bad_comments_are_refused(quote: ModuleType, order: str, said: str) -> None:
    with pytest.raises(HeroError, match=said):
        quote.quoted(ORDER.format(order))


def test_a_bad_comment_is_one_line_that_names_the_document(
    quote: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "account.md").write_text(ORDER.format("| method; label"), "utf-8")
    monkeypatch.setattr(quote, "DOCUMENTS", (str(tmp_path / "account.md"),))
    monkeypatch.setattr("sys.argv", ["quote.py"])
    assert quote.main() == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "account.md: no column 'label'" in line


def test_every_row_has_its_settings() -> None:
    known = tomllib.loads((RESULTS / "settings.toml").read_text("utf-8"))
    used = {point.settings for point in FIGURES if not point.is_baseline}
    assert used == known.keys() - {"common"}


def test_no_score_is_twice_in_the_table() -> None:
    keys = Counter(
        (p.study, p.task, p.method, p.labeller, p.seed, p.sampler, p.labels) for p in FIGURES
    )
    assert max(keys.values()) == 1 and len(keys) == len(FIGURES) > 900


def test_variety_falls_as_often_as_the_documents_say() -> None:
    """Of runs with a success of 0.9 before their last score: how many became more alike."""
    trials: dict[tuple[str, str, int | None], list[Point]] = defaultdict(list)
    for point in FIGURES:
        methods = ("hero", "hero-forward", "hero+")
        if point.study == "full" and point.labeller == "judge" and point.method in methods:
            trials[point.task, point.method, point.seed].append(point)
    ratios = [
        (points[-1].good_diversity or 0) / (first.good_diversity or 1)
        for points in trials.values()
        if (first := next((p for p in points[:-1] if p.fresh >= 0.9), None))
    ]
    fell = sum(ratio < 1 for ratio in ratios)
    text = (PROJECT / "docs/results.md").read_text("utf-8")
    assert f"Of the {len(ratios)} runs of" in text and f"{fell} ended with more alike" in text
    session = (PROJECT / "docs/first-session.md").read_text("utf-8")
    assert f"in {fell} of {len(ratios)} runs" in session


TASKS = ("black-cat", "blue-rose", "mountain", "narcissus", "safety")
PLOTS = [("hands", "hero,hero-forward,hero+@128,ddpo,sft@256")] + [
    (task, "hero,hero-forward,hero+@128,sft@256") for task in TASKS
]


@pytest.mark.parametrize(("task", "methods"), PLOTS)
def test_plots_are_drawn_from_the_figures(task: str, methods: str) -> None:
    """Pixel by pixel, but for the letters, which another version of Pillow may draw otherwise."""
    plan = Plan((task,), parse_methods(methods), (3, 4, 5, 6, 7), RESULTS / "figures.csv")
    outcome = read_study(plan)
    drawn = np.asarray(plot(outcome, task, summarise(outcome, ())), np.int16)
    with Image.open(RESULTS / f"{task}.png") as kept:
        difference = np.abs(drawn - np.asarray(kept.convert("RGB"), np.int16)).max(axis=2)
    assert (difference > 60).mean() < 0.005


def test_the_soaks_table_is_of_its_csv() -> None:
    table = (PROJECT / "docs/durability.md").read_text("utf-8")
    with (PROJECT / "docs/results/soak.csv").open(newline="") as file:
        rows = {int(row["round"]): row for row in csv.DictReader(file)}
    quoted = re.findall(r"^\| ([\d,]+) \| (\d+) MB \| .* \| ([\d.]+) \|$", table, re.MULTILINE)
    assert len(quoted) == 5
    for number, memory, seconds in quoted:
        row = rows[int(number.replace(",", ""))]
        assert f"{float(row['memory_mb']):.0f}" == memory
        assert f"{float(row['seconds_a_round']):.2f}" == seconds
