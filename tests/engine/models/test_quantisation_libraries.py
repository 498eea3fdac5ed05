"""Libraries that others import as soon as they are installed: hidden until they are needed."""

import importlib
import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from refusals import refused

from hero_engine.core.errors import ExitCode
from hero_engine.models import quantisation_libraries as libraries

SLOW, USER = "a_slow_library", "a_module_that_asks"
KIND = "quant_method"
ASKS = f"""
from importlib.util import find_spec
FOUND = find_spec("{SLOW}") is not None
if FOUND:
    from {SLOW} import VALUE
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed library, and a module that imports it where it is."""
    (tmp_path / f"{SLOW}.py").write_text("VALUE = 1")
    (tmp_path / f"{USER}.py").write_text(ASKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(libraries, "HIDDEN", (SLOW,))
    monkeypatch.setattr(libraries, "IMPORTERS", {SLOW: (USER,)})
    yield
    for name in (SLOW, USER):
        sys.modules.pop(name, None)


def test_a_hidden_library_is_found_once_it_is_required(slow: None) -> None:
    libraries.hide_libraries()
    user = importlib.import_module(USER)
    assert not user.FOUND and find_spec(SLOW) is None and libraries.is_installed(SLOW)
    libraries.require(SLOW, "this test")
    assert user.FOUND and user.VALUE == 1
    libraries.hide_libraries()
    assert find_spec(SLOW) is not None


def test_a_library_that_cannot_be_imported_is_one_line(slow: None, tmp_path: Path) -> None:
    (tmp_path / f"{SLOW}.py").write_text("import no_such_module_at_all")
    with refused(ExitCode.ENVIRONMENT, "this test needs a_slow_library, which cannot be imported"):
        libraries.require(SLOW, "this test")


def test_a_component_that_was_saved_quantised_gets_its_library(slow: None, tmp_path: Path) -> None:
    libraries.hide_libraries()
    for kind in ("another", SLOW):
        assert find_spec(SLOW) is None
        (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {KIND: kind}}))
        assert libraries.require_for(tmp_path)
    assert find_spec(SLOW) is not None
