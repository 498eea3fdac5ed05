"""Opening models: shapes, guidance, LoRA in and out, errors in one line, silence."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import WIDE_LORA

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.lora import lora_layers
from hero_engine.models.lora_files import diffusers_lora
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline import Model


def some_input(model: Model, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(rows, *model.latent_shape, generator=random), torch.tensor([900, 400, 20])


def stir(model: Model) -> None:
    """Give the LoRA weights an effect."""
    random = torch.Generator().manual_seed(2)
    for weight in model.lora_parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=random)


def test_shapes(oblong_folder: Path) -> None:
    model = open_model(str(oblong_folder), WIDE_LORA, "cpu")
    assert (model.latent_shape, model.picture_size) == ((3, 6, 10), (12, 20))
    pictures = model.decode(torch.randn(2, 3, 6, 10))
    assert pictures.shape == (2, 12, 20, 3)
    assert pictures.dtype == np.uint8


def test_decoding_as_diffusers_does(square: Model, square_folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(square_folder, safety_checker=None)
    latents = 0.2 * torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    want = pipeline.image_processor.postprocess(decoded, output_type="np") * 255
    assert np.abs(square.decode(latents).astype(float) - want).max() <= 0.51


def test_only_lora_is_trainable_and_starts_without_effect(model: Model) -> None:
    trainable = [name for name, weight in model.network.named_parameters() if weight.requires_grad]
    assert trainable and all(".lora_" in name for name in trainable)
    assert len(model.lora_parameters()) == len(trainable)
    assert all(weight.dtype == torch.float32 for weight in model.lora_parameters())
    assert not model.network.training
    x, t = some_input(model)
    prompt = Conditioning("one hand")
    with model.base():
        base = model.predict(x, t, prompt)
    assert torch.equal(model.predict(x, t, prompt), base)
    stir(model)
    assert not torch.allclose(model.predict(x, t, prompt), base, atol=1e-2)
    with model.base():
        assert torch.equal(model.predict(x, t, prompt), base)
    assert all(weight.requires_grad for weight in model.lora_parameters())


def test_merged_predicts_the_same_and_leaves_nothing_changed(model: Model) -> None:
    stir(model)
    x, t = some_input(model)
    prompt = Conditioning("one hand")
    before = {name: weight.clone() for name, weight in model.network.named_parameters()}
    tuned = model.predict(x, t, prompt)
    with model.base():
        base = model.predict(x, t, prompt)
    with model.merged():
        assert torch.allclose(model.predict(x, t, prompt), tuned, atol=1e-5)
        with model.merged():
            assert torch.allclose(model.predict(x, t, prompt), tuned, atol=1e-5)
    with model.base(), model.merged():
        assert torch.equal(model.predict(x, t, prompt), base)
    with pytest.raises(RuntimeError), model.merged():
        raise RuntimeError
    after = dict(model.network.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert all(weight.requires_grad for weight in model.lora_parameters())
    assert torch.equal(model.predict(x, t, prompt), tuned)


def test_low_precision_is_not_merged(model: Model) -> None:
    stir(model)
    model.dtype = torch.bfloat16
    calls: list[int] = []
    first = next(lora_layers(model.network))
    first.lora_A.default.register_forward_hook(lambda *_: calls.append(1))
    x, t = some_input(model)
    with model.merged():
        model.predict(x, t, Conditioning("one hand"))
    assert calls


def test_guidance_is_an_extrapolation_of_two_calls(model: Model) -> None:
    stir(model)
    x, t = some_input(model)
    positive, negative = (model.predict(x, t, Conditioning(text)) for text in ("a hand", "bad"))
    want = negative + 4 * (positive - negative)
    assert torch.allclose(model.predict(x, t, Conditioning("a hand", "bad", 4.0)), want, atol=1e-5)
    assert not torch.allclose(positive, negative, atol=1e-4)


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_guidance_one_is_one_call(square: Model, guidance: float) -> None:
    rows: list[int] = []
    square.network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    x, t = some_input(square)
    guided = square.predict(x, t, Conditioning("a hand", "bad", guidance))
    assert torch.equal(guided, square.predict(x, t, Conditioning("a hand")))
    square.predict(x, t, Conditioning("a hand", "bad", 2.0))
    assert rows == [3, 3, 6]


def test_first_weights_come_from_the_seed(square_folder: Path) -> None:
    def state(seed: int) -> list[torch.Tensor]:
        opened = open_model(str(square_folder), WIDE_LORA, "cpu", seed=seed)
        return list(opened.lora_state().values())

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_lora_state_roundtrip(square: Model, square_folder: Path) -> None:
    stir(square)
    other = open_model(str(square_folder), WIDE_LORA, "cpu", seed=9)
    other.load_lora_state(square.lora_state())
    x, t = some_input(square)
    prompt = Conditioning("a")
    assert torch.equal(other.predict(x, t, prompt), square.predict(x, t, prompt))
    with pytest.raises(ValueError, match="other layers"):
        other.load_lora_state({})


@pytest.mark.parametrize("shape", ["square", "oblong"])
def test_diffusers_loads_our_lora(
    shape: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """WIDE_LORA has alpha 3 at rank 2 and convolutions: scale and Conv2d must both survive."""
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    folder = request.getfixturevalue(f"{shape}_folder")
    model = open_model(str(folder), WIDE_LORA, "cpu")
    stir(model)
    save_file(diffusers_lora(model.lora_state(), model.lora), tmp_path / "lora.safetensors")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    x, t = some_input(model)
    prompt = Conditioning("a hand")
    with torch.no_grad():
        states = pipeline.encode_prompt("a hand", "cpu", 3, False)[0]
        base = pipeline.unet(x, t, states).sample
        pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
        theirs = pipeline.unet(x, t, states).sample
        ours = model.predict(x, t, prompt)
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert not torch.allclose(base, ours, atol=1e-2)


@pytest.mark.parametrize(
    ("targets", "modules"),
    [
        (("to_q",), {"to_q"}),
        (("to_out.0", "conv"), {"0", "conv1", "conv2"}),
        (("ff", "time"), {"proj", "2", "time_emb_proj"}),
    ],
)
def test_lora_targets(square_folder: Path, targets: tuple[str, ...], modules: set[str]) -> None:
    model = open_model(str(square_folder), LoraSettings(targets=targets), "cpu")
    names = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in model.lora_state()}
    assert names == modules


def test_lora_within_a_part_of_the_network(square_folder: Path) -> None:
    lora = LoraSettings(targets=("to_q", "conv"), block="mid_block")
    model = open_model(str(square_folder), lora, "cpu")
    layers = {name.split(".lora_")[0] for name in model.lora_state()}
    assert {layer.split(".")[0] for layer in layers} == {"mid_block"}
    assert {layer.split(".")[-1] for layer in layers} == {"to_q", "conv1", "conv2"}
    with pytest.raises(HeroError, match="within 'nowhere'"):
        open_model(str(square_folder), replace(lora, block="nowhere"), "cpu")


def test_unknown_lora_target(square_folder: Path) -> None:
    with pytest.raises(HeroError, match="to_nowhere"):
        open_model(str(square_folder), LoraSettings(targets=("to_q", "to_nowhere")), "cpu")


@pytest.mark.parametrize("name", ["no such thing", "a/b/c", "{tmp}", "{tmp}/broken"])
def test_errors_are_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text("{not json")
    with pytest.raises(HeroError) as error:
        open_model(name.replace("{tmp}", str(tmp_path)), WIDE_LORA, "cpu")
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value) and str(error.value)


def test_opening_is_silent(square_folder: Path) -> None:
    """In a process of its own, as libraries warn on their first import."""
    code = (
        "from hero_engine.config.settings import LoraSettings\n"
        "from hero_engine.models.open_model import open_model\n"
        "from hero_engine.models.conditioning import Conditioning\n"
        f"model = open_model({str(square_folder)!r}, LoraSettings(), 'cpu')\n"
        "model.decode(__import__('torch').randn(1, 4, 8, 8));\n"
        "x, t = __import__('torch').randn(1, 4, 8, 8), __import__('torch').tensor([5])\n"
        "model.predict(x, t, Conditioning('x' * 400))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
