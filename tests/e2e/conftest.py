"""A tiny model, and a run of it that nothing disturbed; made once a session."""

from pathlib import Path

import pytest
from hero_process import ROUNDS, FinishedRun, Hero, small_run, write_labels


@pytest.fixture(scope="session")
def hero(tmp_path_factory: pytest.TempPathFactory) -> Hero:
    return Hero(tmp_path_factory.mktemp("hero"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline whose pictures have the judges' size, 64 x 64."""
    from stand_ins import write_pipeline

    return write_pipeline(tmp_path_factory.mktemp("model"), 4, 8, vae_levels=4)


@pytest.fixture(scope="session")
def labels(hero: Hero) -> Path:
    """Labels of every round."""
    return write_labels(hero.home / "labels.jsonl", range(ROUNDS))


@pytest.fixture(scope="session")
def finished(hero: Hero, tiny_model: Path, labels: Path) -> FinishedRun:
    """A whole run in one go. Look at it; do not change it."""
    folder = hero.home / "whole"
    return FinishedRun(folder, hero.warm(*small_run(tiny_model, folder, labels)).end())
