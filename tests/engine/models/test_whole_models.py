"""A model is opened whole or refused: weights, schedules, markers, long prompts, fingerprints."""

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
from tiny_pipelines import Folders, opened, sd2
from tiny_runs import new_run, tiny_settings

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.core.errors import HeroError
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.model_record import RECORD, check_model, fingerprints, record_model
from hero_engine.models.model_sources import find_model
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline_loading import load_pipeline
from hero_engine.models.single_files import SingleFile
from hero_engine.training.trainer import Trainer

Change = Callable[[Path], None]


@pytest.fixture
def copied(folders: Folders, tmp_path: Path) -> Callable[[str], Path]:
    """A pipeline's folder that a test may damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folders(name), tmp_path / name))

    return copy


def weights(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = next(folder.glob("*.safetensors"))
    save_file(change(load_file(path)), path, {"format": "pt"})


def refusal(folder: Path) -> str:
    with pytest.raises(HeroError) as error:
        load_pipeline(str(folder), torch.float32)
    assert error.value.exit_code == 3 and "\n" not in error.value.message
    return error.value.message


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_missing_weights_are_named(copied: Callable[[str], Path], part: str) -> None:
    folder = copied("sd2")
    lost: list[str] = []

    def drop(state: dict[str, Any]) -> dict[str, Any]:
        lost.append(min(state))
        return {name: weight for name, weight in state.items() if name != lost[0]}

    weights(folder / part, drop)
    said = refusal(folder)
    assert f"{part}/" in said and "lacks weights" in said
    assert lost[0].removeprefix("text_model.") in said


def test_weights_under_other_names_are_not_random(copied: Callable[[str], Path]) -> None:
    folder = copied("sd2")
    weights(folder / "text_encoder", lambda state: {f"wrapped.{k}": v for k, v in state.items()})
    assert "text_encoder/model.safetensors lacks weights" in refusal(folder)


def test_a_missing_component_is_named(copied: Callable[[str], Path]) -> None:
    folder = copied("sd2")
    shutil.rmtree(folder / "text_encoder")
    assert "has no text_encoder/" in refusal(folder)


def test_folders_with_only_fp16_files_open(copied: Callable[[str], Path]) -> None:
    folder = copied("sd2")
    for each in folder.rglob("*.safetensors"):
        each.rename(each.with_name(each.name.replace(".safetensors", ".fp16.safetensors")))
    told = load_pipeline(str(folder), torch.float32).notices
    assert any("variant fp16" in notice for notice in told)


@pytest.mark.parametrize("in_index", [True, False])
def test_sd3_without_t5_opens_and_says_so(copied: Callable[[str], Path], in_index: bool) -> None:
    folder = copied("sd3")
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / part)
        if not in_index:
            index = json.loads((folder / "model_index.json").read_text())
            (folder / "model_index.json").write_text(json.dumps(index | {part: [None, None]}))
    sampler = SamplerSettings(height=16, width=16)
    model = open_model(str(folder), LoraSettings(), "cpu", sampler=sampler, prompts="a")
    assert any("without text_encoder_3 (T5)" in notice for notice in model.notices)


def test_a_cache_folder_leads_to_its_snapshot(copied: Callable[[str], Path]) -> None:
    folder = copied("sd2")
    root = folder.parent / "models--a--b"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc")
    (root / "snapshots").mkdir()
    folder.rename(root / "snapshots" / "abc")
    assert load_pipeline(str(root), torch.float32).network == "unet"
    (root / "refs" / "main").unlink()
    assert find_model(str(root)) == str(root / "snapshots" / "abc")


def test_markers_of_a_single_file(folders: Folders, tmp_path: Path) -> None:
    """Empty tensors "v_pred" and "ztsnr" go over the configuration, and are told."""
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    config = Path(shutil.copytree(folders("sd2"), tmp_path / "config"))
    schedule = config / "scheduler" / "scheduler_config.json"
    plain = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    schedule.write_text(json.dumps(json.loads(schedule.read_text()) | plain))
    assert _process(path, config).scheduler.config.prediction_type == "epsilon"
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    save_file(load_file(path) | marks, path)
    model = open_model(str(path), LoraSettings(), "cpu", config=str(config))
    process: Any = model.process
    assert process.scheduler.config.prediction_type == "v_prediction"
    assert float(process.scheduler.alphas_cumprod[-1]) == 0
    assert sum("model.safetensors says so" in notice for notice in model.notices) == 2


def _process(path: Path, config: Path) -> Any:
    return open_model(str(path), LoraSettings(), "cpu", config=str(config)).process


@pytest.mark.parametrize("by_row", [False, True], ids=["one scale", "a scale a row"])
def test_scaled_fp8_is_multiplied_by_its_scales(
    folders: Folders, tmp_path: Path, by_row: bool
) -> None:
    """The network is then the one of weight x scale; it is told, and no other kind is guessed."""
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    state, want = load_file(path), dict[str, torch.Tensor]()
    for name, weight in list(state.items()):
        if "attn1.to_q.weight" in name and weight.dim() == 2:
            scale = weight.abs().amax(1, keepdim=True) / 448 if by_row else torch.tensor(0.25)
            state[name] = (weight / scale).to(torch.float8_e4m3fn)
            state[name.replace(".weight", ".scale_weight")] = scale.flatten() if by_row else scale
            want[name] = state[name].float() * scale
    assert want
    save_file(state | {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}, path)
    loaded = load_pipeline(str(path), torch.float32, str(folders("sd2")))
    assert any("fp8 weights were multiplied" in notice for notice in loaded.notices)
    got = {float(w.sum()) for n, w in loaded.pipeline.unet.named_parameters() if "attn1.to_q" in n}
    assert got == {float(weight.sum()) for weight in want.values()}
    state[next(iter(want))] = state[next(iter(want))].float()
    save_file(state, path)
    with pytest.raises(HeroError, match="which is no fp8 weight") as error:
        load_pipeline(str(path), torch.float32, str(folders("sd2")))
    assert error.value.exit_code == 3


@pytest.mark.parametrize("mark", ["edm_mean", "edm_vpred.sigma_max"])
def test_edms_markers_are_refused(folders: Folders, tmp_path: Path, mark: str) -> None:
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    save_file(load_file(path) | {mark: torch.zeros(1)}, path)
    with pytest.raises(HeroError, match="has EDM's noise process") as error:
        load_pipeline(str(path), torch.float32, str(folders("sd2")))
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    "metadata",
    [
        {"modelspec.prediction_type": "v"},
        {"modelspec.predict_key": "v"},
        {"modelspec.architecture": "stable-diffusion-v2-768-v"},
    ],
)
def test_v_prediction_in_the_metadata(tmp_path: Path, metadata: dict[str, str]) -> None:
    """As sd-scripts, ComfyUI and modelspec's names of architectures say it."""
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors", metadata)
    file = SingleFile.read(tmp_path / "model.safetensors")
    assert file.scheduler_changes() == {"prediction_type": "v_prediction"}


def test_a_network_alone_has_its_markers_too(folders: Folders, tmp_path: Path) -> None:
    path = write_single_file(opened(folders("sdxl")), tmp_path / "unet.safetensors")
    alone = {k: v for k, v in load_file(path).items() if k.startswith("model.diffusion_model.")}
    save_file(alone | {"v_pred": torch.zeros(0)}, path)
    loaded = load_pipeline(str(path), torch.float32, str(folders("sdxl")))
    assert loaded.pipeline.scheduler.config.prediction_type == "v_prediction"
    assert any("has only the unet" in notice for notice in loaded.notices)


def test_an_encoder_that_a_checkpoint_lacks_is_whole_or_refused(
    folders: Folders, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    """It comes from the configuration's folder, and is told."""
    folder = copied("sd2")
    path = write_single_file(opened(folder), tmp_path / "model.safetensors")
    save_file({k: v for k, v in load_file(path).items() if "cond_stage" not in k}, path)
    loaded = load_pipeline(str(path), torch.float32, str(folder))
    assert "text_encoder comes from sd2: the file has none" in loaded.notices
    weights(folder / "text_encoder", lambda state: {k: v for k, v in list(state.items())[1:]})
    with pytest.raises(HeroError, match=r"text_encoder/model\.safetensors lacks weights"):
        load_pipeline(str(path), torch.float32, str(folder))


@pytest.mark.parametrize("part", ["model.diffusion_model.", "first_stage_model.", "cond_stage"])
def test_weights_that_a_checkpoint_lacks_are_named(
    folders: Folders, tmp_path: Path, part: str
) -> None:
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    lost = max(name for name in load_file(path) if name.startswith(part))
    save_file({n: w for n, w in load_file(path).items() if n != lost}, path)
    with pytest.raises(HeroError, match=r"model\.safetensors lacks weights of its \w+: ") as error:
        load_pipeline(str(path), torch.float32, str(folders("sd2")))
    assert error.value.exit_code == 3


def test_a_checkpoint_of_another_kind_is_one_line(folders: Folders, tmp_path: Path) -> None:
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    for kind in ("sdxl", "flux"):
        with pytest.raises(HeroError, match=f"does not fit the configuration of {kind}") as error:
            load_pipeline(str(path), torch.float32, str(folders(kind)))
        assert error.value.exit_code == 3 and "\n" not in error.value.message
    weight = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(load_file(path) | {weight: torch.zeros(3, 3)}, path)
    with pytest.raises(HeroError, match="of other shapes than its configuration"):
        load_pipeline(str(path), torch.float32, str(folders("sd2")))


def test_weights_that_a_configuration_has_no_place_for_are_told(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("sd2")
    weights(folder / "vae", lambda state: state | {"decoder.extra.weight": torch.zeros(1)})
    more = {"encoder.layers.7.mlp.fc1.weight": torch.zeros(1)}
    weights(folder / "text_encoder", lambda state: state | more | {"vision.x": torch.zeros(1)})
    told = load_pipeline(str(folder), torch.float32).notices
    assert f"text_encoder: its configuration has no place for {min(more)}" in told
    assert "vae: its configuration has no place for decoder.extra.weight" in told


def test_words_cut_off_by_a_text_encoder_are_reported(square_folder: Path) -> None:
    prompt = " ".join("abcdefghijklmnopqrstuvwxyz")
    model = open_model(str(square_folder), LoraSettings(), "cpu", prompts=prompt)
    told = [each for each in model.notices if "too long for tokenizer" in each]
    assert len(told) == 1 and told[0].endswith("does not see: o p q r s t u v w x y z")
    short = open_model(str(square_folder), LoraSettings(), "cpu", prompts="a b")
    assert short.notices == ()


def test_resume_refuses_another_component(square_folder: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", tiny_settings(square_folder))
    pipeline = load_pipeline(str(square_folder), torch.float32).pipeline
    found = fingerprints(pipeline)
    assert {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= found.keys()
    assert record_model(run, found, ("guessed",)) == ("guessed",)
    assert record_model(run, fingerprints(pipeline), ("guessed",)) == ()
    assert "guessed" in (run.path / RECORD).read_text()
    next(pipeline.vae.parameters()).data[0] += 1e-3
    with pytest.raises(HeroError, match=r"vae of model .* changed since this run began") as error:
        check_model(run, fingerprints(pipeline))
    assert error.value.exit_code == 3


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_of_nan_are_refused(copied: Callable[[str], Path], part: str) -> None:
    folder = copied("sd2")
    weights(folder / part, lambda state: {n: w * torch.nan for n, w in state.items()})
    with pytest.raises(HeroError, match=f"{part} has NaN or infinity in ") as error:
        open_model(str(folder), LoraSettings(), "cpu")
    assert error.value.exit_code == 3


def test_pipelines_that_start_from_a_picture_are_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("sdxl")
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionXLImg2ImgPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    assert "which is no text-to-image pipeline" in refusal(folder)


def test_a_pipeline_whose_call_asks_for_its_own_scheduler_is_refused(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("sd2")
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "LatentConsistencyModelPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(
        HeroError, match="LatentConsistencyModelPipeline cannot be trained"
    ) as error:
        open_model(str(folder), LoraSettings(), "cpu")
    assert error.value.exit_code == 3
    assert "fails with hero's scheduler, DDIMScheduler" in error.value.message


def test_a_consistency_model_is_trained_at_the_guidance_it_samples_with(tmp_path: Path) -> None:
    """Its UNet takes the scale as an input, in sampling and where an update asks for none."""
    pipeline = sd2(time_cond_proj_dim=8)
    pipeline.save_pretrained(tmp_path / "lcm")
    sampler = SamplerSettings(height=16, width=16, guidance=6.0)
    model = open_model(str(tmp_path / "lcm"), LoraSettings(), "cpu", sampler=sampler, prompts="a")
    x = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    with model.driver.listening() as heard, torch.no_grad():
        for each in (Conditioning("a"), Conditioning("a", "", 6.0), Conditioning("a", "", 2.0)):
            model.predict(x, torch.tensor([500]), each)
    scales = [call.kwargs["timestep_cond"] for call in heard]
    assert torch.equal(scales[0], scales[1]) and not torch.equal(scales[1], scales[2])
    assert all(len(call.args[0]) == 1 for call in heard)


def test_an_inpainting_unet_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("sd2")
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"in_channels": 9}))

    def widen(state: dict[str, Any]) -> dict[str, Any]:
        name = "conv_in.weight"
        return state | {name: state[name].repeat(1, 3, 1, 1)[:, :9].contiguous()}

    weights(folder / "unet", widen)
    with pytest.raises(HeroError, match="its UNet takes 9 channels and the VAE makes 4") as error:
        open_model(str(folder), LoraSettings(), "cpu")
    assert error.value.exit_code == 3


@pytest.mark.parametrize("name", ["sd2", "flux", "z_image"])
def test_in_bf16_guidance_is_computed_in_float32(
    folders: Folders, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions come out in float32, LoRA gradients arrive, pictures decode."""
    monkeypatch.setattr("hero_engine.models.open_model._pick_dtype", lambda device: torch.bfloat16)
    sampler = SamplerSettings(height=16, width=16, guidance=4.0)
    model = open_model(str(folders(name)), LoraSettings(), "cpu", sampler=sampler, prompts="a")
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    times = model.process.timesteps_at(torch.tensor([0.3, 0.8]))
    output = model.predict(x, times, Conditioning("a", "bad", 4.0))
    rounded = torch.equal(output, output.bfloat16().float())
    assert output.dtype == torch.float32 and rounded == model.arguments.embedded
    output.square().mean().backward()  # type: ignore[no-untyped-call]
    assert any(w.grad is not None and bool(w.grad.any()) for w in model.lora_parameters())
    assert model.network.dtype == torch.bfloat16
    assert model.decode(x).dtype == "uint8"


def test_ddpo_without_a_noisy_step_is_refused(square_folder: Path) -> None:
    sampler = SamplerSettings(steps=4, eta=0.0, guidance=0)
    with pytest.raises(HeroError, match=r"raise sampler\.eta") as error:
        Trainer.open(tiny_settings(square_folder, update="ddpo", sampler=sampler), "cpu")
    assert error.value.exit_code == 2
