"""Tiny random pipelines in Stable Diffusion's layout, made once a session; toy models; runs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import KINDS, Process
from run_folders import SETTINGS, TASK
from stand_ins import WIDE_LORA, BellModel, LineModel, write_pipeline
from tiny_pipelines import Folders, write
from tiny_runs import UPDATES, new_run, tiny_settings

from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline import Model
from hero_engine.storage.run_folder import RunDir

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def square_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with latents 4 x 8 x 8."""
    return write_pipeline(tmp_path_factory.mktemp("square"), 4, 8)


@pytest.fixture(scope="session")
def oblong_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with latents 3 x 6 x 10."""
    return write_pipeline(tmp_path_factory.mktemp("oblong"), 3, (6, 10))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A pipeline of each kind, each written once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(params=["square", "oblong"])
def model(request: pytest.FixtureRequest) -> Model:
    """A freshly opened model of either latent shape, its LoRA untouched."""
    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    return open_model(str(folder), WIDE_LORA, "cpu", seed=3)


@pytest.fixture
def square(square_folder: Path) -> Model:
    """A freshly opened model with latents 4 x 8 x 8."""
    return open_model(str(square_folder), WIDE_LORA, "cpu", seed=3)


@pytest.fixture
def bell_model() -> BellModel:
    """Pictures are one number from N(0, 0.3^2), up to the sampler's few steps."""
    return BellModel()


@pytest.fixture
def line_model() -> Callable[..., LineModel]:
    """Makes models of two numbers."""
    return LineModel


@pytest.fixture(params=UPDATES)
def update(request: pytest.FixtureRequest) -> str:
    """Either update's name."""
    return str(request.param)


@pytest.fixture
def make_run(square_folder: Path, tmp_path: Path) -> Callable[..., RunDir]:
    """Makes tiny runs, each in a folder of its own."""

    def make(name: str = "run", **changes: Any) -> RunDir:
        return new_run(tmp_path / name, tiny_settings(square_folder, **changes))

    return make


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of which only the folder matters."""
    return RunDir.create(tmp_path / "run", SETTINGS, TASK)


@pytest.fixture(scope="session")
def processes(
    square_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Process]:
    """For "ddpo", "forward ahead", "ddpo plus"; in "straight" nothing happens but what should."""
    root = tmp_path_factory.mktemp("interrupted")

    @cache
    def process(kind: str) -> Process:
        update, _, besides = kind.partition(" ")
        settings = tiny_settings(square_folder, update=update, **KINDS[besides])

        def folder(name: str) -> RunDir:
            path = root / kind / name
            return RunDir.open(path) if path.exists() else new_run(path, settings)

        model = open_model(settings.model, settings.lora, "cpu", seed=settings.seed)
        made = Process(model, folder)
        made.questions = made.run("straight")
        return made

    return process
