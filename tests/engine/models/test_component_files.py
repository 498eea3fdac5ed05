"""A component's files: which weights are read, and what is refused before a library reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file, save_file
from tiny_pipelines import Folders

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.models.component_files import fault_of_file, weights_variant
from hero_engine.models.lora_files import read_lora
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline_facts import facts_of
from hero_engine.models.pipeline_loading import load_pipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"
Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (["model.safetensors", "model.fp16.safetensors"], None),
        (["model.fp16-00001-of-00002.safetensors"], "fp16"),
        (["diffusion_pytorch_model-00001-of-00002.bf16.safetensors"], "bf16"),
        (["model-00001-of-00002.safetensors"], None),
        (["model.non_ema.safetensors", "model.fp16.safetensors"], "fp16"),
    ],
)
def test_variants(tmp_path: Path, names: list[str], variant: str | None) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert weights_variant(tmp_path) == variant


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(HeroError, match=r"has no \.safetensors weights"):
        weights_variant(tmp_path)


def in_two_files(unet: Path, *, index: bool = True) -> None:
    """As large networks are saved."""
    state = load_file(unet / WEIGHTS)
    (unet / WEIGHTS).unlink()
    where = {
        name: f"diffusion_pytorch_model-0000{1 + at % 2}-of-00002.safetensors"
        for at, name in enumerate(sorted(state))
    }
    for file in set(where.values()):
        save_file({n: state[n] for n in state if where[n] == file}, unet / file, {"format": "pt"})
    if index:
        told = {"metadata": {}, "weight_map": where}
        (unet / f"{WEIGHTS}.index.json").write_text(json.dumps(told))


def second_file_lost(unet: Path) -> None:
    in_two_files(unet)
    (unet / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()


def other_shape(unet: Path) -> None:
    state = load_file(unet / WEIGHTS)
    save_file(state | {"conv_in.bias": torch.zeros(3)}, unet / WEIGHTS, {"format": "pt"})


def link_to_nothing(unet: Path) -> None:
    (unet / WEIGHTS).unlink()
    (unet / WEIGHTS).symlink_to(unet / "gone")


def words_lost(tokenizer: Path) -> None:
    """The library would open it, and read every prompt as an empty one."""
    (tokenizer / "tokenizer.json").unlink()


def merges_lost(tokenizer: Path) -> None:
    words = json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"]
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "vocab.json").write_text(json.dumps(words))


def no_words(tokenizer: Path) -> None:
    path = tokenizer / "tokenizer.json"
    told = json.loads(path.read_text())
    special = {each["content"]: each["id"] for each in told["added_tokens"]}
    path.write_text(json.dumps(told | {"model": told["model"] | {"vocab": special}}))


@pytest.mark.parametrize(
    ("part", "damage", "said"),
    [
        ("unet", lambda unet: in_two_files(unet, index=False), "is one of several files"),
        ("unet", second_file_lost, "index.json names diffusion_pytorch_model-00002-of-00002"),
        ("unet", lambda unet: (unet / f"{WEIGHTS}.index.json").write_text("{"), "is damaged"),
        ("unet", lambda unet: (unet / f"{WEIGHTS}.index.json").write_text("{}"), "is damaged"),
        ("unet", lambda unet: (unet / "config.json").write_text("{"), "config.json is damaged"),
        ("unet", link_to_nothing, "points to a file that is missing"),
        ("unet", other_shape, "of other shapes than its configuration says: conv_in.bias"),
        ("tokenizer", words_lost, "tokenizer/ has no vocabulary"),
        ("tokenizer", merges_lost, "vocab.json without merges.txt"),
        ("tokenizer", no_words, "a tokenizer without words"),
    ],
)  # fmt: skip
def test_damage_is_named(
    folders: Folders, tmp_path: Path, part: str, damage: Damage, said: str
) -> None:
    folder = Path(shutil.copytree(folders("sd2"), tmp_path / "model"))
    damage(folder / part)
    with refused(ExitCode.ENVIRONMENT, part, said):
        load_pipeline(str(folder), torch.float32)


def test_weights_in_several_files_open(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("sd2"), tmp_path / "model"))
    in_two_files(folder / "unet")
    assert load_pipeline(str(folder), torch.float32).network == "unet"


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"PK\x03\x04 and more of a pickle", "is a pickle, which can run code"),
        (b"<!DOCTYPE html><title>Log in</title>", "is a web page"),
        ((4).to_bytes(8, "little") + b"\xff\xff\xff\xff", "its header is damaged"),
        ((99).to_bytes(8, "little") + b"{}", "is cut short, or no"),
    ],
)
def test_what_is_no_safetensors_file(tmp_path: Path, contents: bytes, said: str) -> None:
    """Whether it is a model or a LoRA."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(contents)
    with pytest.raises(HeroError, match=said) as error:
        open_model(str(path), LoraSettings(), "cpu")
    assert error.value.exit_code == 3
    with pytest.raises(HeroError, match=said) as error:
        read_lora(path, facts_of("StableDiffusionPipeline"), "unet", None)
    assert error.value.exit_code == 2


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(9)}, path)
    assert fault_of_file(path) == ""
    path.write_bytes(path.read_bytes()[:-4])
    assert "is cut short" in fault_of_file(path)


def test_a_pickle_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"")
    with refused(ExitCode.ENVIRONMENT, "is a pickle, which can run code"):
        open_model(str(tmp_path / "model.ckpt"), LoraSettings(), "cpu")


@pytest.mark.parametrize(("index", "said"), [("{", "is damaged"), ("{}", "names no pipeline")])
def test_an_index_that_names_no_pipeline(tmp_path: Path, index: str, said: str) -> None:
    (tmp_path / "model_index.json").write_text(index)
    with refused(ExitCode.ENVIRONMENT, "model_index.json", said):
        open_model(str(tmp_path), LoraSettings(), "cpu")
