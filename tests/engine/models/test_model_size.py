"""A model's size is read from its files' headers, and chooses its preset."""

import json
from pathlib import Path

import pytest
from tiny_pipelines import Folders

from hero_engine.config.presets import LARGEST_FROM
from hero_engine.config.tasks import load_task, settings_for
from hero_engine.models.model_size import network_parameters
from hero_engine.models.model_sources import model_settings
from hero_engine.models.pipeline_loading import bare_network


@pytest.mark.parametrize("name", ["sd2", "z_image"])
def test_weights_are_counted_by_headers(folders: Folders, name: str) -> None:
    _, _, network = bare_network(str(folders(name)))
    found = sum(weight.numel() for weight in network.parameters())
    assert network_parameters(str(folders(name))) == found > 0


def test_a_second_precision_is_not_counted_twice(folders: Folders, tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F16", "shape": [3, 5], "data_offsets": [0, 30]}}).encode()
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_bytes(
        Path(folders("sd2") / "model_index.json").read_bytes()
    )
    for name in ("", ".fp16"):
        file = folder / "unet" / f"diffusion_pytorch_model{name}.safetensors"
        file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(30))
    assert network_parameters(str(folder)) == 15


@pytest.mark.parametrize("name", ["embedded", "nowhere/nothing at all"])
def test_nothing_is_known_of_others(name: str) -> None:
    assert network_parameters(name) == 0


@pytest.mark.parametrize(
    ("model", "preset", "batch", "side"),
    [
        ("config:sd15", "paper", 64, 0),
        ("config:sdxl", "large", 16, 768),
        ("config:z-image", "large", 8, 512),
    ],
)
def test_large_networks_have_short_rounds(model: str, preset: str, batch: int, side: int) -> None:
    task, parameters = load_task("black-cat"), network_parameters(model)
    settings = settings_for(task, model, kind=model_settings(model), parameters=parameters)
    assert (settings.preset, settings.batch, settings.sampler.width) == (preset, batch, side)
    assert (settings.update == "forward") == (preset == "large")
    assert (parameters >= LARGEST_FROM) == (batch == 8)
    own = settings_for(task, model, None, {"batch": 3}, parameters=parameters)
    assert own.batch == 3
    assert settings_for(task, model, "paper", parameters=parameters).batch == 64
