"""LoRA files: kohya's names, files in the hands of diffusers, files of others coming in."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_pipelines import Folders, opened
from torch import Tensor

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.core.errors import HeroError
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.lora import targets_of
from hero_engine.models.lora_files import diffusers_lora, kohya_lora, read_lora
from hero_engine.models.lora_names import stability_name
from hero_engine.models.open_model import open_model
from hero_engine.models.original_names import TABLES
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_facts import FACTS
from hero_engine.models.pipeline_loading import bare_network

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
SMALL = SamplerSettings(height=32, width=32)
EVERYTHING = (*ATTENTION, "conv", "ff", "time", "proj_in", "conv_shortcut")
UNETS = ["sd2", "sdxl"]
ORIGINAL = ["sd3", "flux", "chroma", "lumina2", "hunyuan_image"]
"""Kinds whose kohya names are those of the original code."""


def stirred(folder: Path, lora: LoraSettings) -> Model:
    """A model whose LoRA has an effect."""
    model = open_model(str(folder), lora, "cpu", sampler=SMALL)
    random = torch.Generator().manual_seed(2)
    for weight in model.lora_parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=random)
    return model


def outputs(model: Model) -> Tensor:
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.predict(x, torch.tensor([900, 100]), Conditioning("a hand"))


def saved(model: Model, layout: str, path: Path) -> Path:
    state, lora = model.lora_state(), model.lora
    if layout == "kohya":
        save_file(kohya_lora(state, lora, model.arguments.facts, model_layers(model)), path)
    else:
        save_file(diffusers_lora(state, lora, part_of(model)), path)
    return path


def model_layers(model: Model) -> Any:
    """A network of these layers without LoRA weights, as an export has it."""
    network = model.network
    return type(network).from_config(network.config)


def part_of(model: Model) -> str:
    return "unet" if hasattr(model.driver.pipeline, "unet") else "transformer"


def found(path: Path, folder: Path) -> Any:
    return read_lora(path, *bare_network(str(folder)))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"),
        ("down_blocks.2.resnets.1.time_emb_proj", "input_blocks.8.0.emb_layers.1"),
        ("down_blocks.1.downsamplers.0.conv", "input_blocks.6.0.op"),
        ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
        ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
        ("up_blocks.0.resnets.2.conv_shortcut", "output_blocks.2.0.skip_connection"),
        ("up_blocks.1.attentions.2.proj_out", "output_blocks.5.1.proj_out"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("conv_in", "input_blocks.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
    ],
)
def test_stabilitys_names(layer: str, name: str) -> None:
    """As kohya-ss/sd-scripts' networks/lora_diffusers.py has them."""
    assert stability_name(layer) == name


def test_kohyas_keys(folders: Folders) -> None:
    """Literally, and with alpha unfolded; as A1111's and ComfyUI's readers look them up."""
    layer = "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    names = {
        "sd2": f"lora_unet_{layer}",
        "sdxl": "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
    }
    for kind, name in names.items():
        model = stirred(folders(kind), LoraSettings(rank=2, alpha=3, targets=("to_q",)))
        made = kohya_lora(model.lora_state(), model.lora, model.arguments.facts, model.network)
        ends = ("lora_down.weight", "lora_up.weight", "alpha")
        assert {key for key in made if key.startswith(name)} == {f"{name}.{end}" for end in ends}
        assert made[f"{name}.alpha"].shape == () and float(made[f"{name}.alpha"]) == 3
        assert made[f"{name}.lora_down.weight"].shape[0] == 2
        assert made[f"{name}.lora_up.weight"].shape[1] == 2


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
@pytest.mark.parametrize("kind", UNETS)
def test_diffusers_reads_it(folders: Folders, kind: str, layout: str, tmp_path: Path) -> None:
    """Every kind of layer of the UNet; the same predictions, and none of the weights unused."""
    model = stirred(folders(kind), LoraSettings(rank=2, alpha=3, targets=EVERYTHING))
    pipeline = opened(folders(kind))
    pipeline.load_lora_weights(saved(model, layout, tmp_path / "lora.safetensors"))
    loaded = [name for name, _ in pipeline.unet.named_parameters() if ".lora_" in name]
    assert len(loaded) == len(model.lora_parameters())
    want = outputs(model)
    with model.base():
        assert not torch.allclose(outputs(model), want, atol=1e-2)
    model.network = pipeline.unet
    model.driver.pipeline.unet = pipeline.unet
    assert torch.allclose(outputs(model), want, atol=1e-5)


@pytest.mark.parametrize("kind", [*UNETS, *ORIGINAL])
def test_it_comes_back_in_either_layout(folders: Folders, kind: str, tmp_path: Path) -> None:
    """With rank and targets found in the file, its scale in the weights, stacked layers apart."""
    targets = ("to_q", "to_v", "to_out.0", "feed_forward.linear_2" if kind == "lumina2" else "ff")
    model = stirred(folders(kind), LoraSettings(rank=2, alpha=3, targets=targets))
    want = {n: w * 1.5 if "lora_B" in n else w for n, w in model.lora_state().items()}
    for layout in ("kohya", "diffusers"):
        given = found(saved(model, layout, tmp_path / f"{layout}.safetensors"), folders(kind))
        assert (given.lora.rank, given.lora.alpha, given.left_out) == (2, 2, 0)
        assert given.state.keys() == want.keys()
        assert all(torch.allclose(given.state[name], weight) for name, weight in want.items())


def test_every_naming_is_tried(folders: Folders) -> None:
    assert {bare_network(str(folders(kind)))[0].kohya for kind in ORIGINAL} == set(TABLES)


def test_files_that_diffusers_saves(folders: Folders, tmp_path: Path) -> None:
    """Its metadata tells alpha, which the weights do not have in them."""
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    model = stirred(folders("sd2"), LoraSettings(rank=2, alpha=6, targets=("to_q",)))
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(model.network),
        unet_lora_adapter_metadata={"r": 2, "lora_alpha": 6},
        weight_name="lora.safetensors",
    )
    given = found(tmp_path / "lora.safetensors", folders("sd2"))
    again = open_model(str(folders("sd2")), given.lora, "cpu", sampler=SMALL)
    again.load_lora_state(given.state)
    assert torch.allclose(outputs(again), outputs(model), atol=1e-5)


def test_text_encoders_weights_are_left_out(folders: Folders, tmp_path: Path) -> None:
    model = stirred(folders("sd2"), LoraSettings(rank=2, targets=("to_q",)))
    path = saved(model, "kohya", tmp_path / "lora.safetensors")
    name = "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"
    save_file(load_file(path) | {name: torch.zeros(2, 8)}, path)
    assert found(path, folders("sd2")).left_out == 1


def _processors(layer: str) -> str:
    """What ddpo-pytorch and d3po write: names of attention processors."""
    block, _, last = layer.removesuffix(".0").rpartition(".")
    return f"{block}.processor.{last}_lora"


def _flat(layer: str) -> str:
    return layer.replace(".", "_")


@pytest.mark.parametrize(
    ("named", "down", "up"),
    [
        (lambda layer: f"base_model.model.{layer}", "lora_A.weight", "lora_B.weight"),
        (lambda layer: layer, "lora_A.weight", "lora_B.weight"),
        (_processors, "down.weight", "up.weight"),
        (lambda layer: f"unet.{_processors(layer)}", "down.weight", "up.weight"),
        (lambda layer: f"unet.{layer}", "lora.down.weight", "lora.up.weight"),
        (lambda layer: f"diffusion_model.{layer}", "lora_A.weight", "lora_B.weight"),
        (lambda layer: f"lora_transformer_{_flat(layer)}", "lora_down.weight", "lora_up.weight"),
        (lambda layer: f"lycoris_{_flat(layer)}", "lora_down.weight", "lora_up.weight"),
    ],
    ids=[
        "peft", "bare", "processors", "unet processors", "old diffusers", "ComfyUI", "OneTrainer",
        "SimpleTuner",
    ],
)  # fmt: skip
def test_other_trainers_layouts(
    folders: Folders, tmp_path: Path, named: Any, down: str, up: str
) -> None:
    model = stirred(folders("sd2"), LoraSettings(rank=2, alpha=2))
    state, ends = model.lora_state(), {"A.weight": down, "B.weight": up}
    tensors = {}
    for name, weight in state.items():
        layer, end = name.split(".lora_")
        tensors[f"{named(layer)}.{ends[end]}"] = weight
    save_file(tensors, tmp_path / "lora.safetensors")
    given = found(tmp_path / "lora.safetensors", folders("sd2"))
    assert given.state.keys() == state.keys()
    assert all(torch.equal(given.state[name], weight) for name, weight in state.items())


def test_alphas_beside_pefts_file(folders: Folders, tmp_path: Path) -> None:
    """adapter_config.json has them, for all layers and for some; the folder is enough."""
    model = stirred(folders("sd2"), LoraSettings(rank=2, alpha=2, targets=("to_q", "to_v")))
    state = model.lora_state()
    tensors = {f"base_model.model.{name}": weight for name, weight in state.items()}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 1}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    given = found(tmp_path, folders("sd2"))
    for name, weight in state.items():
        factor = 1 if "lora_A" in name else 0.5 if "attn1.to_q" in name else 4
        assert torch.equal(given.state[name], weight * factor)
    (tmp_path / "adapter_config.json").write_text(json.dumps(told | {"peft_type": "LOHA"}))
    with pytest.raises(HeroError, match="is a LOHA adapter"):
        found(tmp_path, folders("sd2"))
    with pytest.raises(HeroError, match=r"is a folder without .* no run with a finished round"):
        found(tmp_path.parent, folders("sd2"))


def test_matrices_of_1_x_1_convolutions(folders: Folders, tmp_path: Path) -> None:
    """A linear layer's weights come with two more axes where another UNet has a convolution."""
    model = stirred(folders("sd2"), LoraSettings(rank=2, alpha=2, targets=("proj_in",)))
    state = model.lora_state()
    save_file(
        {f"unet.{n}": w[..., None, None] for n, w in state.items()}, tmp_path / "x.safetensors"
    )
    given = found(tmp_path / "x.safetensors", folders("sd2"))
    assert all(torch.equal(given.state[name], weight) for name, weight in state.items())


def test_ranks_and_alphas_of_single_layers(folders: Folders, tmp_path: Path) -> None:
    """The largest rank for all; the product of every layer stays what it was."""
    model = stirred(folders("sd2"), LoraSettings(rank=2, alpha=2, targets=("to_q",)))
    state = model.lora_state()
    layers = sorted({name.split(".lora_")[0] for name in state})
    tensors, want = {}, {}
    for number, layer in enumerate(layers):
        A, B = (state[f"{layer}.lora_{side}.weight"] for side in "AB")
        if number == 0:
            A, B = torch.cat([A, A, A[:1]]), torch.cat([B, B, B[:, :1]], 1)
        name, alpha = f"lora_unet_{layer.replace('.', '_')}", float(number + 1)
        tensors |= {f"{name}.lora_down.weight": A, f"{name}.lora_up.weight": B}
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        want[layer] = alpha / len(A) * (B @ A)
    save_file(tensors, tmp_path / "lora.safetensors")
    given = found(tmp_path / "lora.safetensors", folders("sd2"))
    assert (given.lora.rank, given.lora.alpha) == (5, 5)
    for layer, product in want.items():
        A, B = (given.state[f"{layer}.lora_{side}.weight"] for side in "AB")
        assert len(A) == 5 and torch.allclose(B @ A, product, atol=1e-5)


def test_samplers_convolutions_are_a_target(folders: Folders, tmp_path: Path) -> None:
    """ "conv" is a group's name, so their own is longer."""
    targets = ("to_q", "downsamplers.0.conv", "upsamplers.0.conv")
    model = stirred(folders("sd2"), LoraSettings(rank=2, targets=targets))
    for layout in ("kohya", "diffusers"):
        given = found(saved(model, layout, tmp_path / f"{layout}.safetensors"), folders("sd2"))
        again = open_model(str(folders("sd2")), given.lora, "cpu", sampler=SMALL)
        again.load_lora_state(given.state)  # which refuses other layers


def test_a_locon_with_a_middle_convolution(folders: Folders, tmp_path: Path) -> None:
    """1 x 1, 3 x 3, 1 x 1, as LyCORIS saves it: the same function of a picture."""
    network = bare_network(str(folders("sd2")))[2]
    layer, random = "mid_block.resnets.0.conv1", torch.Generator().manual_seed(7)
    out, inputs, *_ = network.get_submodule(layer).weight.shape
    down, mid, up = (
        torch.randn(*shape, generator=random)
        for shape in ((2, inputs, 1, 1), (2, 2, 3, 3), (out, 2, 1, 1))
    )
    name = f"lora_unet_{_flat(layer)}"
    ends = {"down": down, "mid": mid, "up": up}
    tensors = {f"{name}.lora_{end}.weight": weight for end, weight in ends.items()}
    save_file(tensors | {f"{name}.alpha": torch.tensor(1.0)}, tmp_path / "locon.safetensors")
    given = found(tmp_path / "locon.safetensors", folders("sd2"))
    A, B = (given.state[f"{layer}.lora_{side}.weight"] for side in "AB")
    x, conv = torch.randn(1, inputs, 5, 5, generator=random), torch.nn.functional.conv2d
    want = 0.5 * conv(conv(conv(x, down), mid, padding=1), up)
    assert torch.allclose(conv(conv(x, A, padding=1), B), want, atol=1e-4)


def test_what_does_not_fit(folders: Folders, tmp_path: Path) -> None:
    """One line each, which names the file."""
    path = tmp_path / "lora.safetensors"
    model = stirred(folders("sd2"), LoraSettings(rank=2, targets=("to_q",)))
    good = load_file(saved(model, "diffusers", path))
    first = min(name for name in good if "lora_A" in name)
    for tensors, said in (
        ({**good, "unet.nowhere.lora_A.weight": torch.zeros(1)}, "it has unet.nowhere"),
        ({n: w for n, w in good.items() if n != first}, "it has unet.down_blocks.*lora_B"),
        ({"x": torch.zeros(1)}, "is no LoRA for this model"),
        ({**good, first: torch.zeros(2, 99)}, "a LoRA for another model: its down_blocks"),
        ({**good, first: good[first] * torch.nan}, "has NaN or infinity in unet.down_blocks"),
        ({"lora_te_x.alpha": torch.ones(1)}, "has text encoders alone"),
        ({"lora_unet_x.oft_blocks": torch.zeros(1)}, "is an OFT file"),
        ({**good, "lora_te_x.alpha": torch.tensor(torch.nan)}, "has NaN or infinity in lora_te_x"),
        ({**good, "unet.x.dora_scale": torch.zeros(1)}, "is a DoRA file"),
        ({"lora_unet_x.hada_w1_a": torch.zeros(1)}, "is a LoHa file"),
        ({"lora_unet_x.lokr_w2": torch.zeros(1)}, "is a LoKr file"),
        ({"unet.x.lora_magnitude_vector.weight": torch.zeros(1)}, "is a DoRA file"),
        ({**good, "lora_unet_x.lora_mid.weight": torch.zeros(2, 2, 3, 3)}, "it has lora_unet_x"),
        ({"diffusion_model.x.diff": torch.zeros(1)}, "is a full-weight difference file"),
    ):
        save_file(tensors, path)
        with pytest.raises(HeroError, match=said) as error:
            found(path, folders("sd2"))
        assert error.value.exit_code == 2 and str(path) in error.value.message
        assert "\n" not in error.value.message
    path.unlink()
    with pytest.raises(HeroError, match="there is no such file"):
        found(path, folders("sd2"))


def test_shortest_targets(folders: Folders) -> None:
    facts, part, network = bare_network(str(folders("sd2")))
    assert facts.title == FACTS["StableDiffusionPipeline"].title and part == "unet"
    names = [name for name, _ in network.named_modules()]
    queries = [name for name in names if name.endswith("to_q")]
    assert targets_of(queries, network) == ("to_q",)
    mine = [name for name in queries if name.startswith("mid_block") or "attn2" in name]
    few = targets_of(mine, network)
    assert "attn2.to_q" in few and len(few) == 2
    assert {name for name in names if any(name.endswith(target) for target in few)} == set(mine)
    assert all(weight.is_meta for weight in network.parameters())
