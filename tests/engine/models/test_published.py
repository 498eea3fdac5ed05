"""What others open: the code on a model card, and merged models, without further arguments."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from single_file import write_single_file
from tiny_parts import byte_tokenizer, t5_tokenizer
from tiny_pipelines import Folders, opened
from tiny_runs import new_run, played, tiny_settings

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.models.export import export_card, export_lora, export_merged
from hero_engine.models.published_layout import write_published_layout
from hero_engine.storage.run_folder import RunDir

LORA = LoraSettings(rank=2, alpha=3, targets=("to_q", "to_v"))
NETWORK = "network.safetensors"
EMBEDDED_RUN = Path(__file__).parents[2] / "fixtures" / "runs-0.1.0" / "hero-plus-ahead"


def learned(tmp_path: Path, model: Path, **changes: Any) -> RunDir:
    """A run of one round."""
    sampler = SamplerSettings(steps=2, eta=0.5, guidance=2.0, height=16, width=16)
    settings = tiny_settings(model, update="forward", lora=LORA, sampler=sampler, **changes)
    run = new_run(tmp_path / "run", settings)
    played(run, "*gbgbb")
    return run


def code_of(card: Path) -> str:
    return card.read_text().split("```python\n")[1].split("```")[0]


def whole_file(folder: Path, here: Path) -> Path:
    return write_single_file(opened(folder), here / "model.safetensors")


def unet_alone(folder: Path, here: Path) -> Path:
    path = whole_file(folder, here)
    start = "model.diffusion_model."
    save_file({k: v for k, v in load_file(path).items() if k.startswith(start)}, path)
    return path


def file_and_network(folder: Path, here: Path) -> Path:
    """A checkpoint, and another network (`NETWORK`) in place of its own."""
    unet_alone(folder, here).rename(here / NETWORK)
    return whole_file(folder, here)


def as_it_is(folder: Path, here: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sd2", as_it_is),
        ("sd2", whole_file),
        ("sd2", unet_alone),
        ("sd2", file_and_network),
        ("pixart_sigma", as_it_is),
    ],
)
def test_the_cards_code_loads_the_lora(
    folders: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    make: Callable[[Path, Path], Path],
) -> None:
    """From a folder, a checkpoint, networks beside both, and without a pipeline's loader."""
    base = Path(shutil.copytree(folders(kind), tmp_path / kind))
    model = make(base, tmp_path)
    network = str(tmp_path / NETWORK) if make is file_and_network else ""
    config = "" if model == base else str(base)
    run = learned(tmp_path, model, model_config=config, network=network)
    export_lora(run, tmp_path / "lora.safetensors")
    code = code_of(export_card(run, tmp_path / "lora.safetensors"))
    assert str(tmp_path) not in code and (NETWORK in code) == bool(network)
    monkeypatch.chdir(tmp_path)
    if kind == "pixart_sigma":  # its own sizes are larger than a test's
        code = "\n".join(line for line in code.splitlines() if not line.endswith("images[0]"))
    found: dict[str, Any] = {}
    exec(code, found)
    pipeline = found["pipeline"]
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    loras = [weight for name, weight in network.named_parameters() if ".lora_B." in name]
    assert len(loras) == len(run.load_checkpoint()[0]["lora"]) // 2  # type: ignore[index]
    assert any(bool(weight.any()) for weight in loras)


def test_the_cards_code_draws_with_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir.open(Path(shutil.copytree(EMBEDDED_RUN, tmp_path / "hands")))
    export_lora(run, tmp_path / "lora.safetensors")
    code = code_of(export_card(run, tmp_path / "lora.safetensors"))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code.replace(").images[0]", ", num_inference_steps=1).images[0]"), found)
    weights = dict(found["pipeline"].unet.named_parameters())
    assert any(bool(weights[name].any()) for name in weights if ".lora_B." in name)


def test_the_card_says_what_diffusers_needs_for_a_folder(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp16 files alone, and no T5: its code runs, for the LoRA and for the merged model."""
    base = Path(shutil.copytree(folders("sd3"), tmp_path / "base"))
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(base / part)
    for each in base.rglob("*.safetensors"):
        each.rename(each.with_name(each.name.replace(".safetensors", ".fp16.safetensors")))
    run = learned(tmp_path, base)
    export_lora(run, tmp_path / "lora.safetensors")
    export_merged(run, tmp_path / "merged")
    for exported in (tmp_path / "lora.safetensors", tmp_path / "merged"):
        monkeypatch.chdir(tmp_path if exported.is_file() else exported)
        code = code_of(export_card(run, exported))
        assert ("variant" in code) == exported.is_file()
        found: dict[str, Any] = {}
        exec("\n".join(line for line in code.splitlines() if "images[0]" not in line), found)
        assert found["pipeline"].text_encoder_3 is None


def test_a_merged_model_opens_without_arguments(folders: Folders, tmp_path: Path) -> None:
    """Of a base with fp16 files alone, no feature extractor and a checkpoint beside its folders."""
    base = Path(shutil.copytree(folders("sd2"), tmp_path / "base"))
    for each in base.rglob("*.safetensors"):
        each.rename(each.with_name(each.name.replace(".safetensors", ".fp16.safetensors")))
    index = json.loads((base / "model_index.json").read_text())
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (base / "model_index.json").write_text(json.dumps(index))
    (base / "v1.safetensors").write_bytes(b"")
    run = learned(tmp_path, base)
    export_merged(run, tmp_path / "merged")
    assert (tmp_path / "merged/tokenizer/vocab.json").is_file()
    names = load_file(tmp_path / "merged/text_encoder/model.safetensors")
    assert all(name.startswith("text_model.") for name in names)  # which older libraries read
    merged = opened(tmp_path / "merged")
    assert merged.feature_extractor is None and not (tmp_path / "merged/v1.safetensors").exists()
    want = opened(folders("sd2"))
    assert not torch.equal(next(merged.unet.parameters()), torch.zeros(0))
    for part in ("vae", "text_encoder"):
        theirs = getattr(want, part).state_dict()
        assert all(torch.equal(w, theirs[n]) for n, w in getattr(merged, part).state_dict().items())


def test_a_merged_network_keeps_its_bases_other_files(folders: Folders, tmp_path: Path) -> None:
    """Unchanged; what the network's file says of the noise process goes into the scheduler."""
    base = Path(shutil.copytree(folders("sdxl"), tmp_path / "base"))
    weights = load_file(write_single_file(opened(base), tmp_path / "unet.safetensors"))
    alone = {k: v for k, v in weights.items() if k.startswith("model.diffusion_model.")}
    save_file(alone | {"v_pred": torch.zeros(0)}, tmp_path / "unet.safetensors")
    run = learned(tmp_path, tmp_path / "unet.safetensors", model_config=str(base))
    export_merged(run, tmp_path / "merged")
    for name in ("text_encoder_2/model.safetensors", "tokenizer/tokenizer.json"):
        assert (tmp_path / "merged" / name).read_bytes() == (base / name).read_bytes()
    assert opened(tmp_path / "merged").scheduler.config.prediction_type == "v_prediction"


def test_special_tokens_in_a_list_get_the_name_of_both_libraries(tmp_path: Path) -> None:
    """transformers 5 writes such a list, at which transformers 4.57 stops."""
    from transformers import AutoTokenizer

    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<one>", "<two>"]})
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    t5_tokenizer().save_pretrained(tmp_path / "tokenizer_2")
    (tmp_path / "model_index.json").write_text("{}")
    write_published_layout(tmp_path)
    for name, tokens in (("tokenizer", ["<one>", "<two>"]), ("tokenizer_2", None)):
        config = json.loads((tmp_path / name / "tokenizer_config.json").read_text())
        assert "extra_special_tokens" not in config
        assert config.get("additional_special_tokens") == tokens
    again = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert again("a<two>").input_ids == tokenizer("a<two>").input_ids
    assert set(again.all_special_tokens) == set(tokenizer.all_special_tokens)
