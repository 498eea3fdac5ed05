"""The documents' tables and plots are made from docs/results/figures.csv."""

import importlib.util
import sys
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from hero_engine.core.errors import HeroError
from hero_engine.study.figures import read_points

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


@pytest.mark.parametrize(
    ("order", "said"),
    [
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
