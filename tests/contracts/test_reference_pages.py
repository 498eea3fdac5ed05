"""docs/configuration.md, cli.md, models.md and the table of keys.md are what their sources say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from hero_engine.config.settings import setting_sentences
from hero_engine.core.errors import ExitCode
from hero_tui.commands.help_text import EXIT_CODES
from hero_tui.preferences.settings_sources import UiSettings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", DOCS / "write_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["configuration.md", "cli.md", "models.md", "keys.md"])
def test_the_page_is_what_its_source_says(reference: ModuleType, page: str) -> None:
    written = (DOCS / page).read_text("utf-8")
    assert reference.PAGES[page]() == written, "run: python docs/write_reference.py"
    assert sorted(reference.PAGES) == ["cli.md", "configuration.md", "keys.md", "models.md"]


def test_every_setting_has_a_sentence() -> None:
    sentences = setting_sentences() | setting_sentences(UiSettings, "ui.")
    assert len(sentences) > 70
    for name, sentence in sentences.items():
        assert re.fullmatch(r"\S.{8,190}\.", sentence), name


def test_every_exit_code_has_a_meaning() -> None:
    assert list(EXIT_CODES) == list(ExitCode)
