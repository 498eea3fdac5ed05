"""An exported LoRA in the hands of diffusers, on the pipeline it was trained for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tiny_runs import new_run, played, tiny_settings

from hero_engine import __version__
from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError
from hero_engine.models.export import export_card, export_lora
from hero_engine.models.lora_files import read_lora
from hero_engine.models.pipeline_loading import bare_network
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import trained

LORAS = [
    LoraSettings(rank=2, alpha=2, targets=("to_q", "to_v")),
    LoraSettings(rank=2, alpha=5, targets=("to_q", "to_k", "to_v", "to_out.0")),
    LoraSettings(rank=3, alpha=1, targets=("conv", "ff", "time", "to_q")),
]


def outputs(unet: Any, text: torch.Tensor) -> torch.Tensor:
    """Predictions on fixed noise, at three timesteps."""
    x_t = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        output: torch.Tensor = unet(
            x_t, torch.tensor([900, 400, 20]), text.expand(3, -1, -1), return_dict=False
        )[0]
    return output


def encoded(pipeline: Any) -> torch.Tensor:
    """The states of prompt "a"."""
    with torch.no_grad():
        states: torch.Tensor = pipeline.encode_prompt("a", "cpu", 1, False)[0]
    return states


@pytest.mark.parametrize("lora", LORAS, ids=["alpha = rank", "alpha > rank", "conv, alpha < rank"])
def test_diffusers_predicts_the_same(
    square_folder: Path, tmp_path: Path, lora: LoraSettings
) -> None:
    """The tuned model's predictions, which are not the base's, and no warning of unused keys."""
    from diffusers import StableDiffusionPipeline

    folder = new_run(tmp_path / "run", tiny_settings(square_folder, update="forward", lora=lora))
    played(folder, "*gbgbb", "*gbgbb")
    export_lora(folder, tmp_path / "new" / "lora.safetensors")
    tuned = trained(folder, "cpu")[0].model
    text = encoded(tuned.driver.pipeline)

    pipeline = StableDiffusionPipeline.from_pretrained(square_folder, safety_checker=None)
    base = outputs(pipeline.unet, text)
    pipeline.load_lora_weights(tmp_path / "new", weight_name="lora.safetensors")
    adapted = outputs(pipeline.unet, text)
    assert torch.allclose(adapted, outputs(tuned.network, text), atol=1e-5)
    assert not torch.allclose(adapted, base, atol=1e-3)
    with tuned.base():
        assert torch.allclose(outputs(tuned.network, text), base, atol=1e-6)
    weights = [name for name, _ in pipeline.unet.named_parameters() if ".lora_" in name]
    assert len(weights) == len(tuned.lora_parameters())


@pytest.fixture
def folder(square_folder: Path, tmp_path: Path) -> RunDir:
    return new_run(tmp_path / "run", tiny_settings(square_folder, update="forward"))


def test_the_file_says_where_it_comes_from(folder: RunDir, tmp_path: Path) -> None:
    played(folder, "*gbgb.", "bbbbbb")
    export_lora(folder, tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        told = file.metadata()
        assert len(told.pop("sha256")) == 64
        assert told == {
            "format": "pt",
            "hero_version": __version__,
            "task": "tiny",
            "prompt": "a",
            "base_model": Path(folder.settings.model).name,
            "preset": "paper",
            "update": "forward",
            "rounds": "2",
            "labels": "11",
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": "stable-diffusion-v1/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "epsilon",
            "modelspec.title": "tiny",
            "ss_base_model_version": "sd_v1",
            "ss_v2": "False",
        }
        names: list[str] = list(file.keys())
    assert names and all(name.startswith("unet.") for name in names)


def test_an_impossible_export_is_refused(folder: RunDir, tmp_path: Path) -> None:
    with pytest.raises(HeroError, match="not finished a round") as error:
        export_lora(folder, tmp_path / "lora.safetensors")
    assert error.value.exit_code == 4
    played(folder, "bbbbbb")
    (tmp_path / "file").write_text("")
    with pytest.raises(HeroError, match="cannot write") as error:
        export_lora(folder, tmp_path / "file" / "lora.safetensors")
    assert error.value.exit_code == 3


def test_the_model_card(folder: RunDir, tmp_path: Path) -> None:
    played(folder, "*gbgb.", "bbbbbb")
    card = export_card(folder, tmp_path / "lora.safetensors").read_text()
    front, text = card.removeprefix("---\n").split("\n---\n")
    assert 'instance_prompt: "a"' in front.splitlines()
    assert "base_model" not in front  # which is a folder here, and no hub's
    assert "- labels: 11, rounds: 2, of 6 pictures each" in text
    assert "| 1 | 5 | 60% |" in text and "| 2 | 6 | 0% |" in text
    assert 'load_lora_weights(".", weight_name="lora.safetensors")' in text
    with pytest.raises(HeroError, match=r"README.md exists already") as error:
        export_card(folder, tmp_path / "lora.safetensors")
    assert error.value.exit_code == 3


def test_a_run_itself_is_read_like_its_export(folder: RunDir, tmp_path: Path) -> None:
    """Its alpha is in run.toml, an exported file's in its weights."""
    played(folder, "*gbgb.")
    export_lora(folder, tmp_path / "lora.safetensors")
    network = bare_network(folder.settings.model)
    exported, of_run = (
        read_lora(path, *network).state for path in (tmp_path / "lora.safetensors", folder.path)
    )
    assert folder.settings.lora.alpha != folder.settings.lora.rank
    assert of_run.keys() == exported.keys()
    assert all(torch.allclose(of_run[name], weight) for name, weight in exported.items())


def test_kohyas_file_says_its_rank(folder: RunDir, tmp_path: Path) -> None:
    played(folder, "*gbgb.")
    export_lora(folder, tmp_path / "lora.safetensors", "kohya")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        told, names = file.metadata(), list(file.keys())
    assert (told["ss_network_dim"], told["ss_network_alpha"], told["prompt"]) == ("2", "3", "a")
    assert names and all(name.startswith("lora_unet_") for name in names)
