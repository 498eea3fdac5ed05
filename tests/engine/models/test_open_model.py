"""Opening models: sizes, guidance, encoders, whole runs, merged models, refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from single_file import write_single_file
from tiny_pipelines import Folders, opened
from tiny_runs import LINES, UPDATES, new_run, played, tiny_settings
from torch import Tensor

from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings
from hero_engine.core.errors import HeroError
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.export import export_lora, export_merged
from hero_engine.models.lora import layer_names
from hero_engine.models.model_sources import model_settings
from hero_engine.models.open_model import model_for, open_model
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_facts import FACTS
from hero_engine.models.pipeline_loading import bare_network
from hero_engine.policy.sampler import SampleRequest, sample
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import trained

PLAIN = SamplerSettings(steps=4, eta=0, guidance=3.0, negative_prompt="bad", height=16, width=16)


def noises(model: Model) -> Tensor:
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(5))


def ours(model: Model, settings: SamplerSettings = PLAIN) -> Tensor:
    request = SampleRequest(0, 0, range(2), noises(model))
    return sample(model, "a hand", settings, request).latents_B_C_H_W


def settings_of(folder: Path, **changes: Any) -> Settings:
    """A tiny run's, with noise in its steps and LoRA on what all kinds of network have."""
    sampler = SamplerSettings(steps=3, eta=0.5, guidance=2.0, height=16, width=16)
    lora = LoraSettings(rank=2, alpha=3, targets=("to_q", "to_out.0", "ff.net.2"))
    return tiny_settings(folder, **{"sampler": sampler, "lora": lora} | changes)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("name", ["sdxl", "flux", "qwen_image"])
def test_it_learns_and_goes_back_into_diffusers(
    folders: Folders, name: str, update: str, tmp_path: Path
) -> None:
    """Two rounds of the whole loop; the exported LoRA makes the tuned model's pictures."""
    lora = LoraSettings(rank=2, alpha=3, targets=("to_q", "to_out.0"))
    run = new_run(tmp_path / "run", settings_of(folders(name), update=update, lora=lora))
    reports, _ = played(run, *LINES)
    assert [report.updated for report in reports] == [True, True]
    assert all(report.metrics.get("first_ratio_error", 0) < 1e-5 for report in reports)
    assert all(report.metrics["prediction_change"] > 1e-6 for report in reports)
    export_lora(run, tmp_path / "lora.safetensors")
    tuned = trained(run, "cpu")[0].model
    plain = model_for(settings_of(folders(name), lora=lora), "cpu")
    base = ours(plain)
    plain.driver.pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    plain.network.set_adapters(["default_1"])
    x, t = noises(plain), plain.process.timesteps_at(torch.tensor([0.4, 0.7]))
    with torch.no_grad():
        want, got = (each.predict(x, t, Conditioning("a hand")) for each in (tuned, plain))
    assert torch.allclose(got, want, atol=1e-5)
    assert not torch.allclose(ours(tuned), base, atol=1e-4, rtol=1e-3)


def test_no_negative_prompt_is_zeros_for_sdxl(folders: Folders) -> None:
    """As its pipeline says, where a person gives none."""
    settings = SamplerSettings(steps=4, eta=0, guidance=3.0, height=16, width=16)
    model = open_model(str(folders("sdxl")), LoraSettings(), "cpu", sampler=settings, prompts="a")
    arguments = model.arguments.of(Conditioning.of_sampler("a", settings))
    assert arguments["negative_prompt"] is None
    encoded = [each for each in model.driver.encodings.values() if each[1] is not None]
    assert encoded and all(float(each[1].abs().max()) == 0 for each in encoded)


def test_guidance_is_an_input_of_distilled_flux(folders: Folders) -> None:
    """One row a picture, whatever the guidance; without it, two calls.

    Where an update asks for no guidance, the network gets the scale that pictures are drawn with.
    """
    calls: dict[str, list[Any]] = {"flux": [], "schnell": []}
    for name, seen in calls.items():
        sampler = SamplerSettings(guidance=3.5, height=16, width=16)
        model = open_model(str(folders(name)), LoraSettings(), "cpu", sampler=sampler, prompts="a")
        x, t = noises(model), torch.tensor([500.0, 900.0])
        with model.driver.listening() as heard, torch.no_grad():
            strong = model.predict(x, t, Conditioning("a", "bad", 4.0))
            weak = model.predict(x, t, Conditioning("a", "bad", 2.0))
            model.predict(x, t, Conditioning("a"))
        seen += [call.kwargs["guidance"] for call in heard]
        assert not torch.allclose(strong, weak, atol=1e-6)
    scales = [each.tolist() for each in calls["flux"]]
    assert scales == [[4, 4], [2, 2], [3.5, 3.5]]
    assert calls["schnell"] == [None] * 5


def test_text_encoders_run_once_and_leave_the_device(folders: Folders) -> None:
    """All of them, so the largest too: T5."""
    model = open_model(str(folders("flux")), LoraSettings(), "cpu", prompts="a")
    worked = list[int]()
    encoder = model.driver.pipeline.text_encoder_2
    encoder.register_forward_pre_hook(lambda *_: worked.append(1))
    x, t = noises(model), torch.tensor([500.0, 900.0])
    with torch.no_grad():
        model.predict(x, t, Conditioning("a"))
        assert not worked
        for _ in range(2):
            model.predict(x, t, Conditioning("b"))
    assert len(worked) == 1


@pytest.mark.parametrize(
    ("size", "shape"), [((0, 0), (8, 8)), ((24, 32), (12, 16)), ((0, 8), (4, 4))]
)
def test_size(folders: Folders, size: tuple[int, int], shape: tuple[int, int]) -> None:
    settings = SamplerSettings(steps=2, eta=0.5, guidance=1, height=size[0], width=size[1])
    model = open_model(str(folders("sd3")), LoraSettings(), "cpu", sampler=settings)
    assert model.latent_shape == (4, *shape)
    noise = torch.randn(1, *model.latent_shape)
    batch = sample(model, "a", settings, SampleRequest(0, 0, range(1), noise))
    assert model.decode(batch.latents_B_C_H_W).shape == (1, 2 * shape[0], 2 * shape[1], 3)


def test_a_size_that_the_network_cannot_make(folders: Folders) -> None:
    """Whether the pipeline refuses it (SD 3), or would round it without a word (Flux)."""
    sampler = SamplerSettings(height=16, width=18)
    for name in ("sd3", "flux"):
        with pytest.raises(HeroError, match="cannot draw 18x16 pixels") as error:
            open_model(str(folders(name)), LoraSettings(), "cpu", sampler=sampler)
        assert error.value.exit_code == 2


def test_a_kind_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableVideoDiffusionPipeline"}')
    with pytest.raises(
        HeroError, match=r"is a StableVideoDiffusionPipeline, .* it can: Stable Diff"
    ) as error:
        open_model(str(tmp_path), LoraSettings(), "cpu")
    assert error.value.exit_code == 3
    assert all(kind in error.value.message for kind in FACTS)


def test_settings_of_a_kind_that_differ_from_the_paper(folders: Folders) -> None:
    assert model_settings(str(folders("sd3")))["sampler"]["eta"] == 0.5
    assert model_settings(str(folders("sd2"))) == {}
    assert model_settings("nowhere/nothing at all") == {}


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_merged_into_the_weights(folders: Folders, name: str, tmp_path: Path) -> None:
    run: RunDir = new_run(tmp_path / "run", settings_of(folders(name), update="forward"))
    played(run, LINES[0])
    export_merged(run, tmp_path / "merged")
    merged = opened(tmp_path / "merged")
    network = merged.components.get("unet") or merged.transformer
    assert not any(".lora_" in weight for weight, _ in network.named_parameters())
    tuned = ours(trained(run, "cpu")[0].model)
    assert torch.allclose(
        ours(model_for(settings_of(tmp_path / "merged"), "cpu")), tuned, atol=1e-4
    )
    with pytest.raises(HeroError, match="exists already"):
        export_merged(run, tmp_path / "merged")


def test_a_single_file_with_a_configuration_on_the_disk(folders: Folders, tmp_path: Path) -> None:
    """The same pictures as the folder's, to the last bit; trained and exported as that is."""
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    settings = settings_of(path, model_config=str(folders("sd2")), sampler=PLAIN, update="forward")
    model = model_for(settings, "cpu")
    folders_own = model_for(settings_of(folders("sd2"), sampler=PLAIN, update="forward"), "cpu")
    latents = ours(model)
    assert torch.equal(latents, ours(folders_own))
    assert (model.decode(latents) == folders_own.decode(latents)).all()
    _, _, network = bare_network(settings.model, settings.model_config)
    layers = {name.split(".lora_")[0] for name in model.lora_state()}
    assert layers < set(layer_names(network))


def test_an_unknown_single_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a guess is made, the line says how to do without the hub."""

    def offline(hub_id: str) -> Path:
        raise OSError("no network")

    monkeypatch.setattr("hero_engine.models.model_sources._fetched", offline)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    lora = {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.zeros(1)}
    save_file(lora, tmp_path / "lora.safetensors")
    said = {
        "model.safetensors": "no network .for stable-diffusion.* say --set model_config=FOLDER",
        "text.safetensors": "is cut short, or no safetensors file",
        "lora.safetensors": "is a LoRA, not a model: .* --init-lora",
        "gone.safetensors": "there is no file",
    }
    for name, words in said.items():
        with pytest.raises(HeroError, match=words) as error:
            open_model(str(tmp_path / name), LoraSettings(), "cpu")
        assert error.value.exit_code == 3 and "\n" not in error.value.message
        assert name in error.value.message
