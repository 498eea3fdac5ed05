"""Every direct dependency has a lower bound, which `tests/versions.py` can install."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def versions() -> ModuleType:
    path = Path(__file__).parents[1] / "versions.py"
    spec = importlib.util.spec_from_file_location("versions", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_dependency_has_a_lower_bound(versions: ModuleType) -> None:
    pins = versions.lowest(versions.requirements())
    assert len(pins) == len(versions.requirements()) > 20
    assert all("==" in pin for pin in pins)


def test_pins_keep_their_markers(versions: ModuleType) -> None:
    assert versions.lowest(["a>=1.2,<3", "b.py >= 2; python_version < '3.14'"]) == [
        "a==1.2",
        "b.py==2 ; python_version < '3.14'",
    ]
    with pytest.raises(ValueError, match="'a' has no lower bound"):
        versions.lowest(["a"])
    assert versions.newest(["a>=1", "term-image>=0.7; python_version < '3.14'"]) == ["a>=1"]
