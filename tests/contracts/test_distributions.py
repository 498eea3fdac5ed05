"""The wheel carries what a user runs; the source distribution also carries what made it."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CARRIED = ("hero_engine", "hero_tui", "docs", "tests", "pyproject.toml", "MANIFEST.in", "README.md",
           "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md")  # fmt: skip
BUILD = "import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: a build leaves folders behind."""
    copy = tmp_path_factory.mktemp("source")
    for name in CARRIED:
        if (PROJECT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(PROJECT / name, copy / name, ignore=unwanted)
        else:
            shutil.copy(PROJECT / name, copy / name)
    return copy


def built(source: Path, kind: str) -> Path:
    """Build a distribution offline, with the setuptools that is installed."""
    command = [sys.executable, "-c", BUILD.format(kind=kind), str(source / "dist")]
    (source / "dist").mkdir(exist_ok=True)
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return source / "dist" / done.stdout.splitlines()[-1]


def test_the_wheel_carries_what_a_user_runs(source: Path) -> None:
    wheel = built(source, "wheel")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        *(PROJECT / "hero_engine/config/tasks").glob("*.toml"),
        *(PROJECT / "hero_engine/study").glob("*.toml"),
        *(path for path in (PROJECT / "hero_engine/embedded/weights").rglob("*") if path.is_file()),
        *(
            path
            for package in ("hero_engine", "hero_tui")
            for path in (PROJECT / package).rglob("*.py")
            if "training_scripts" not in path.parts
        ),
        PROJECT / "hero_tui/hero.tcss",
    ]
    assert {path.relative_to(PROJECT).as_posix() for path in wanted} <= names
    top = {name.split("/")[0] for name in names}
    assert top == {"hero_engine", "hero_tui", next(each for each in top if "dist-info" in each)}
    assert not [name for name in names if "training_scripts" in name]
    assert wheel.stat().st_size < 12_000_000


def test_the_source_distribution_carries_what_made_the_model_and_the_figures(source: Path) -> None:
    with tarfile.open(built(source, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "hero_engine/embedded/training_scripts/unet.py",
        "hero_engine/embedded/training_scripts/logs/unet.log",
        "docs/results/figures.csv",
        "docs/results/quote.py",
        "tests/contracts/test_distributions.py",
    } <= names
