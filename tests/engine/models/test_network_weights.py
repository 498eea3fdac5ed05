"""The frozen network quantised, of a separate file, or offloaded; large text encoders."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from tiny_pipelines import Folders
from tiny_runs import tiny_settings
from torch import Tensor

from hero_engine.config.settings import LoraSettings, SamplerSettings, Settings
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.models import quantisation, quantisation_libraries, text_encoders
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.open_model import model_for
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_loading import load_pipeline

SIZED = SamplerSettings(height=16, width=16, guidance=3.0)


def settings_of(folder: Path, **changes: Any) -> Settings:
    return tiny_settings(folder, sampler=SIZED, lora=LoraSettings(rank=2), **changes)


def gradients(model: Model) -> tuple[Tensor, list[Tensor]]:
    """A prediction, and the LoRA's gradients at the same weights for every model."""
    random = torch.Generator().manual_seed(2)
    for weight in model.lora_parameters():
        torch.nn.init.normal_(weight, 0, 0.1, generator=random)
    x = torch.randn(2, *model.latent_shape, generator=random)
    times = model.process.timesteps_at(torch.tensor([0.3, 0.8]))
    output = model.predict(x, times, Conditioning("a", "b", 3.0))
    output.square().mean().backward()  # type: ignore[no-untyped-call]
    found = [weight.grad for weight in model.lora_parameters()]
    assert all(each is not None for each in found)
    return output.detach(), found  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "kind"), [("sd3", "int8"), ("z_image", "fp8")])
def test_a_quantised_network_trains(folders: Folders, name: str, kind: str) -> None:
    """Near the whole one; its float32 pass computes with the same weights."""
    settings = settings_of(folders(name))
    whole, _ = gradients(model_for(settings, "cpu"))
    model = model_for(replace(settings, quantise=kind), "cpu")
    output, found = gradients(model)
    assert 0 < float((output - whole).norm() / whole.norm()) < 0.2
    assert max(float(each.abs().max()) for each in found) > 1e-6
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad(), model.merged():
        plain = model.predict(x, torch.full((2,), 500.0), Conditioning("a"))
        with model.in_float32():
            exact = model.predict(x, torch.full((2,), 500.0), Conditioning("a"))
    assert torch.allclose(plain, exact, rtol=1e-2, atol=1e-2)
    again = model_for(replace(settings, quantise=kind), "cpu")
    assert again.fingerprints == model.fingerprints


@pytest.fixture
def nf4() -> Any:
    """The configuration that a GPU gets in bf16."""
    return quantisation.quantisation_config("nf4", torch.bfloat16, torch.device("cuda"))


def test_nf4_reaches_the_networks_loader(
    folders: Folders, nf4: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers' own configuration; no other component has it."""
    import diffusers

    assert type(nf4) is diffusers.BitsAndBytesConfig
    told = nf4.load_in_4bit, nf4.bnb_4bit_quant_type, nf4.bnb_4bit_compute_dtype
    assert told == (True, "nf4", torch.bfloat16)
    seen: dict[str, Any] = {}
    load: Any = diffusers.ModelMixin.from_pretrained

    def noted(kind: Any, *args: Any, quantization_config: Any = None, **kwargs: Any) -> Any:
        seen[kind.__name__] = quantization_config
        return load.__func__(kind, *args, **kwargs)

    monkeypatch.setattr(diffusers.ModelMixin, "from_pretrained", classmethod(noted))
    load_pipeline(str(folders("sd3")), torch.bfloat16, quantisation=nf4)
    assert seen == {"SD3Transformer2DModel": nf4, "AutoencoderKL": None}


@pytest.mark.parametrize("name", ["z_image"])
def test_nf4_trains(folders: Folders, name: str, nf4: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, where bitsandbytes computes, though diffusers asks for a GPU."""
    from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer as Quantizer

    settings = settings_of(folders(name))
    whole, _ = gradients(model_for(settings, "cpu"))
    nf4.bnb_4bit_compute_dtype = torch.float32
    monkeypatch.setattr(Quantizer, "validate_environment", lambda *args, **kwargs: None)
    monkeypatch.setattr(Quantizer, "update_device_map", lambda self, given: {"": "cpu"})
    monkeypatch.setattr("hero_engine.models.open_model.quantisation_config", lambda *args: nf4)
    model = model_for(replace(settings, quantise="nf4"), "cpu")
    assert any("Linear4bit" in type(part).__name__ for part in model.network.modules())
    output, found = gradients(model)
    assert 0 < float((output - whole).norm() / whole.norm()) < 0.4
    assert max(float(each.abs().max()) for each in found) > 1e-6


@pytest.mark.parametrize(("kind", "package"), quantisation.PACKAGES.items())
def test_a_missing_package_is_named(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantisation_libraries, "is_installed", lambda name: False)
    with refused(ExitCode.ENVIRONMENT, f"pip install {package}"):
        quantisation.quantisation_config(kind, torch.bfloat16, torch.device("cuda"))


def test_nf4_needs_a_gpu(folders: Folders) -> None:
    with refused(ExitCode.ENVIRONMENT, "use int8 or fp8 on a CPU"):
        model_for(settings_of(folders("sd3"), quantise="nf4"), "cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"offload": True, "quantise": "nf4"},
        {"offload": True, "gradient_checkpointing": "off"},
        {"network": "net.gguf", "quantise": "int8"},
        {"network": "net.gguf", "offload": True},
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any]) -> None:
    with pytest.raises(HeroError):
        Settings(**changes)


@pytest.mark.parametrize("name", ["sd2", "sd3", "z_image", "flux"])
def test_an_offloaded_network_has_the_same_gradients(
    folders: Folders, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are off the device are NaN here: whoever needed one would show it."""
    from diffusers.hooks.group_offloading import ModuleGroup

    settings = settings_of(folders(name), gradient_checkpointing="on")
    wanted, plain = gradients(model_for(settings, "cpu"))
    kept: dict[int, Tensor] = {}

    def weights(group: Any) -> list[Tensor]:
        return [*group.parameters, *(each for part in group.modules for each in part.parameters())]

    def offload(group: Any) -> None:
        for weight in weights(group):
            kept.setdefault(id(weight), weight.data)
            weight.data = torch.full_like(weight.data, float("nan"))

    def onload(group: Any) -> None:
        for weight in weights(group):
            weight.data = kept[id(weight)].clone()

    monkeypatch.setattr(ModuleGroup, "offload_", offload)
    monkeypatch.setattr(ModuleGroup, "onload_", onload)
    monkeypatch.setattr("hero_engine.models.open_model.fingerprints", lambda pipeline: {})
    model = model_for(replace(settings, offload=True), "cpu")
    output, found = gradients(model)
    assert len(kept) > 10
    assert torch.allclose(output, wanted, rtol=1e-5, atol=1e-6)
    one, other = (torch.cat([each.flatten() for each in some]) for some in (found, plain))
    assert float(other.norm()) > 1e-4
    assert float((one - other).norm() / other.norm()) < 1e-4


@pytest.mark.parametrize("name", ["sd2", "flux"])
def test_a_network_of_another_file(folders: Folders, name: str, tmp_path: Path) -> None:
    """In diffusers' keys, beside a base folder: its weights, not the folder's."""
    from safetensors.torch import load_file, save_file

    folder = folders(name)
    part = "unet" if name == "sd2" else "transformer"
    weights = load_file(folder / part / "diffusion_pytorch_model.safetensors")
    save_file({key: 2 * each for key, each in weights.items()}, tmp_path / "mine.safetensors")
    settings = settings_of(folder, network=str(tmp_path / "mine.safetensors"))
    model, base = model_for(settings, "cpu"), model_for(settings_of(folder), "cpu")
    own, theirs = (each.network.state_dict() for each in (model, base))
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[key], 2 * each) for key, each in theirs.items() if "lora" not in key)
    assert any("mine.safetensors" in notice for notice in model.notices)
    with refused(ExitCode.ENVIRONMENT, "there is no network file"):
        model_for(replace(settings, network=str(tmp_path / "no.safetensors")), "cpu")


@pytest.mark.parametrize("name", ["flux", "z_image"])
def test_a_gguf_network_trains(folders: Folders, name: str, tmp_path: Path) -> None:
    """Its attention in Q8_0: near the folder's own, with gradients; float32 gives the same."""
    import gguf
    from safetensors.torch import load_file

    folder, file = folders(name), tmp_path / "mine.gguf"
    written, q8 = gguf.GGUFWriter(file, "test"), gguf.GGMLQuantizationType.Q8_0
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    for key, weight in weights.items():
        numbers = weight.float().numpy()
        if "att" in key and weight.ndim == 2 and weight.shape[1] % 32 == 0:
            written.add_tensor(key, gguf.quants.quantize(numbers, q8), raw_dtype=q8)
        else:
            written.add_tensor(key, numbers)
    written.write_header_to_file()
    written.write_kv_data_to_file()
    written.write_tensors_to_file()
    written.close()
    model = model_for(settings_of(folder, network=str(file)), "cpu")
    output, found = gradients(model)
    whole, _ = gradients(model_for(settings_of(folder), "cpu"))
    assert 0 < float((output - whole).norm() / whole.norm()) < 0.02
    assert max(float(each.abs().max()) for each in found) > 1e-6


@pytest.mark.parametrize("name", ["sdxl", "flux", "z_image"])
def test_encoders_that_do_not_fit_encode_on_the_cpu(
    folders: Folders, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(folders(name))
    before = gradients(model_for(settings, "cpu"))[0]
    asked: list[torch.device] = []
    place = text_encoders.Encoders._place

    def noted(self: Any, encoders: Any) -> torch.device:
        asked.append(place(self, encoders))
        return asked[-1]

    monkeypatch.setattr(text_encoders, "free_bytes", lambda device: 0)
    monkeypatch.setattr(text_encoders.Encoders, "_place", noted)
    assert torch.equal(gradients(model_for(settings, "cpu"))[0], before)
    assert set(asked) == {torch.device("cpu")}


def test_encoders_leave_before_the_network_comes(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the device, as modules are moved."""
    moves: list[tuple[str, str]] = []
    to: Callable[..., Any] = torch.nn.Module.to

    def noted(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], str | torch.device):
            moves.append((type(module).__name__, str(args[0])))
        return to(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", noted)
    model_for(settings_of(folders("sd3")), "cpu")
    names = [name for name, _ in moves]
    last_encoder = max(at for at, name in enumerate(names) if name.startswith(("CLIP", "T5")))
    assert last_encoder < names.index("SD3Transformer2DModel")
