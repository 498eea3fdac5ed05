"""Run the tests with the lowest or the newest versions of the direct dependencies.

    python tests/versions.py lowest                       # each at the bound in pyproject.toml
    python tests/versions.py newest                       # the newest release of each
    python tests/versions.py newest --venv DIR tests/tui  # keep the environment; other tests

"newest" leaves out term-image, which holds Pillow below 11. Indirect dependencies are the newest
that fit. Without tests named it runs those that meet a dependency directly: models and their files
(torch, diffusers, transformers, peft, safetensors), storage, commands (typer), keys and pictures in
a terminal (textual, Pillow). The others depend on hero's own code alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[1]
TESTS = (
    *("tests/engine/models", "tests/engine/storage", "tests/engine/embedded"),
    *("tests/contracts/test_imports.py", "tests/e2e/test_short_commands.py"),
    *("tests/tui/keyboard", "tests/tui/graphics", "tests/tui/preferences"),
)
NOT_NEWEST = frozenset({"term-image"})
BOUND = re.compile(r"^(?P<name>[\w.-]+)\s*>=\s*(?P<lowest>[\w.]+)")


def requirements() -> list[str]:
    """The direct dependencies and those of the tests, as pyproject.toml has them."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def lowest(found: Iterable[str]) -> list[str]:
    """Every requirement pinned to its lower bound. ValueError for one without a bound."""
    pins = []
    for text in found:
        bound = BOUND.match(text)
        if bound is None:
            raise ValueError(f"{text!r} has no lower bound")
        marker = text.partition(";")[2]
        pins.append(f"{bound['name']}=={bound['lowest']}" + (f" ;{marker}" if marker else ""))
    return pins


def newest(found: Iterable[str]) -> list[str]:
    """Every requirement as it is, without those that hold others back."""
    return [text for text in found if re.split(r"[><=;\s]", text)[0] not in NOT_NEWEST]


def run_tests(folder: Path, pins: list[str], tests: list[str]) -> int:
    """Install into a virtual environment and run the tests there; returns pytest's exit code."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {re.split(r"[><=;\s]", pin)[0].lower() for pin in pins}
    print("\n".join(row for row in listed.stdout.split() if row.split("==")[0].lower() in names))
    sys.stdout.flush()
    return subprocess.run([python, "-m", "pytest", *tests], cwd=PROJECT, check=False).returncode


def main() -> int:
    """Parse the command line; returns pytest's exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--venv", type=Path, help="folder of the environment; default: temporary")
    parser.add_argument("tests", nargs="*", default=TESTS)
    options = parser.parse_intermixed_args()
    pins = {"lowest": lowest, "newest": newest}[options.which](requirements())
    with TemporaryDirectory() as folder:
        return run_tests(options.venv or Path(folder), pins, list(options.tests))


if __name__ == "__main__":
    sys.exit(main())
