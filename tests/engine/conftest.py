"""Tiny random pipelines in Stable Diffusion's layout, made once a session; toy models."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stand_ins import WIDE_LORA, BellModel, LineModel, write_pipeline

from hero_engine.pipeline import Model, open_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def square_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with latents 4 x 8 x 8."""
    return write_pipeline(tmp_path_factory.mktemp("square"), 4, 8)


@pytest.fixture(scope="session")
def oblong_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with latents 3 x 6 x 10."""
    return write_pipeline(tmp_path_factory.mktemp("oblong"), 3, (6, 10))


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
