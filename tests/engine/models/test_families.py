"""Every kind of model, as a tiny random pipeline of its real class: sampled, trained, exported."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from single_file import write_single_file
from tiny_pipelines import MAKERS, Folders, drawn, opened
from tiny_runs import LINES, UPDATES, new_run, played, tiny_settings
from torch import Tensor

from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings
from hero_engine.core.errors import HeroError
from hero_engine.evaluation.evaluate import trained
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.export import export_lora, export_merged
from hero_engine.models.families import families, family_of
from hero_engine.models.lora import layer_names
from hero_engine.models.model_sources import family_settings
from hero_engine.models.pipeline import Model, bare_network, model_for, open_model
from hero_engine.policy.sampler import sample
from hero_engine.storage.run_folder import RunDir

PLAIN = SamplerSettings(steps=4, eta=0, guidance=3.0, negative_prompt="bad", height=16, width=16)


def noises() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))


def ours(model: Model, settings: SamplerSettings = PLAIN) -> Tensor:
    return sample(model, "a hand", noises(), settings, seed=0, round=0).latents_B_C_H_W


def settings_of(folder: Path, **changes: Any) -> Settings:
    """A tiny run's, with noise in its steps and LoRA on what all kinds of network have."""
    sampler = SamplerSettings(steps=3, eta=0.5, guidance=2.0, height=16, width=16)
    lora = LoraSettings(rank=2, alpha=3, targets=("to_q", "to_out.0", "ff.net.2"))
    return tiny_settings(folder, **{"sampler": sampler, "lora": lora} | changes)


def test_every_kind_is_tried_here(folders: Folders) -> None:
    """A new file in families/ needs a pipeline here."""
    tried = {type(opened(folders(name))).__name__ for name in MAKERS}
    assert tried == {family.pipeline for family in families()}


@pytest.mark.parametrize("name", MAKERS)
def test_without_noise_in_the_steps_it_is_diffusers_own_pipeline(
    folders: Folders, name: str
) -> None:
    """So the prompt, the call of the network, guidance and the timesteps are all as there."""
    model = model_for(settings_of(folders(name), sampler=PLAIN), "cpu")
    want = drawn(opened(folders(name)), noises(), 3.0, "bad")
    assert torch.allclose(ours(model), want, atol=1e-4, rtol=1e-3)
    assert model.decode(want).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("name", MAKERS)
def test_it_learns_and_goes_back_into_diffusers(
    folders: Folders, name: str, update: str, tmp_path: Path
) -> None:
    """Two rounds of the whole loop; the exported LoRA makes the tuned model's pictures."""
    run = new_run(tmp_path / "run", settings_of(folders(name), update=update))
    reports, _ = played(run, *LINES)
    assert [report.updated for report in reports] == [True, True]
    assert all(report.metrics.get("first_ratio_error", 0) < 1e-5 for report in reports)
    assert all(report.metrics["prediction_change"] > 1e-6 for report in reports)
    export_lora(run, tmp_path / "lora.safetensors")
    pipeline = opened(folders(name))
    base = drawn(pipeline, noises(), 3.0, "bad")
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    tuned = ours(trained(run, "cpu").model)
    assert torch.allclose(drawn(pipeline, noises(), 3.0, "bad"), tuned, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(tuned, base, atol=1e-4, rtol=1e-3)


def test_no_negative_prompt_is_zeros_for_sdxl(folders: Folders) -> None:
    settings = settings_of(folders("sdxl"), sampler=SamplerSettings(steps=4, eta=0, guidance=3.0))
    model = model_for(settings, "cpu")
    want = drawn(opened(folders("sdxl")), noises(), 3.0, None)
    assert torch.allclose(ours(model, settings.sampler), want, atol=1e-4)
    assert float(model.encode_prompt("").hidden_N_T_D.abs().max()) == 0


def test_guidance_is_an_input_of_distilled_flux(folders: Folders) -> None:
    """One row a picture, whatever the guidance; without it, two."""
    rows: dict[str, list[int]] = {"flux": [], "schnell": []}
    for name, seen in rows.items():
        model = model_for(settings_of(folders(name)), "cpu")
        listen: Any = lambda _, args, kwargs, seen=seen: seen.append(len(kwargs["hidden_states"]))  # noqa: E731
        model.network.register_forward_pre_hook(listen, with_kwargs=True)
        x, t = noises(), torch.tensor([500.0, 900.0])
        strong, weak = (
            model.predict(x, t, Conditioning("a", "bad", guidance)) for guidance in (4.0, 2.0)
        )
        assert not torch.allclose(strong, weak, atol=1e-6)
    assert rows == {"flux": [2, 2], "schnell": [4, 4]}


def test_text_encoders_work_once_and_then_make_room(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all of them, so the largest: T5."""
    model = open_model(str(folders("flux")), LoraSettings(), "cpu")
    encoder, seen = model._pipeline.text_encoder_2, list[Any]()
    monkeypatch.setattr(encoder, "to", lambda place: seen.append(str(place)))
    encoder.register_forward_pre_hook(lambda *_: seen.append("encodes"))
    model.device = torch.device("cpu", 0)  # stands for a GPU: it has a name of its own
    first = model.encode_prompt("a")
    assert model.encode_prompt("a") is first
    assert seen == ["cpu:0", "encodes", "cpu"]


@pytest.mark.parametrize(
    ("size", "shape"), [((0, 0), (8, 8)), ((24, 32), (12, 16)), ((0, 8), (4, 4))]
)
def test_size(folders: Folders, size: tuple[int, int], shape: tuple[int, int]) -> None:
    model = open_model(str(folders("sd3")), LoraSettings(), "cpu", size=size)
    assert model.latent_shape == (4, *shape)
    noise = torch.randn(1, *model.latent_shape)
    settings = SamplerSettings(steps=2, eta=0.5, guidance=1)
    batch = sample(model, "a", noise, settings, seed=0, round=0)
    assert model.decode(batch.latents_B_C_H_W).shape == (1, 2 * shape[0], 2 * shape[1], 3)


def test_a_size_that_the_network_cannot_make(folders: Folders) -> None:
    with pytest.raises(HeroError, match="sides are multiples of 4") as error:
        open_model(str(folders("sd3")), LoraSettings(), "cpu", size=(16, 18))
    assert error.value.exit_code == 2


def test_a_kind_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "KolorsPipeline"}')
    with pytest.raises(HeroError, match=r"is a KolorsPipeline, .* it can: Flux.1 \(Flux") as error:
        open_model(str(tmp_path), LoraSettings(), "cpu")
    assert error.value.exit_code == 3
    assert all(family.pipeline in error.value.message for family in families())
    assert family_of("KolorsPipeline") is None


def test_what_a_kind_wants_other_than_the_paper(folders: Folders) -> None:
    assert family_settings(str(folders("sd3")))["sampler"]["eta"] == 0.5
    assert family_settings(str(folders("sd2"))) == {}
    assert family_settings("nowhere/nothing at all") == {}


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_merged_into_the_weights(folders: Folders, name: str, tmp_path: Path) -> None:
    run: RunDir = new_run(tmp_path / "run", settings_of(folders(name), update="forward"))
    played(run, LINES[0])
    export_merged(run, tmp_path / "merged")
    merged = opened(tmp_path / "merged")
    network = merged.components.get("unet") or merged.transformer
    assert not any(".lora_" in weight for weight, _ in network.named_parameters())
    tuned = ours(trained(run, "cpu").model)
    assert torch.allclose(drawn(merged, noises(), 3.0, "bad"), tuned, atol=1e-4, rtol=1e-3)
    with pytest.raises(HeroError, match="exists already"):
        export_merged(run, tmp_path / "merged")


def test_a_single_file_with_a_configuration_on_the_disk(folders: Folders, tmp_path: Path) -> None:
    """The same pictures as the folder's, to the last bit; trained and exported as that is."""
    path = write_single_file(opened(folders("sd2")), tmp_path / "model.safetensors")
    settings = settings_of(path, model_config=str(folders("sd2")), sampler=PLAIN)
    model = model_for(settings, "cpu")
    folders_own = model_for(settings_of(folders("sd2"), sampler=PLAIN), "cpu")
    latents = ours(model)
    assert torch.equal(latents, ours(folders_own))
    assert (model.decode(latents) == folders_own.decode(latents)).all()
    _, network = bare_network(settings.model, settings.model_config)
    layers = {name.split(".lora_")[0] for name in model.lora_state()}
    assert layers < set(layer_names(network))


def test_a_single_file_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a guess is made, the line says how to do without the hub."""

    def offline(hub_id: str) -> Path:
        raise OSError("no network")

    monkeypatch.setattr("hero_engine.models.model_sources._fetched", offline)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    said = {
        "model.safetensors": "no network .for stable-diffusion.* say --set model_config=FOLDER",
        "text.safetensors": "cannot read",
        "gone.safetensors": "there is no file",
    }
    for name, words in said.items():
        with pytest.raises(HeroError, match=words) as error:
            open_model(str(tmp_path / name), LoraSettings(), "cpu")
        assert error.value.exit_code == 3 and "\n" not in error.value.message
        assert name in error.value.message
