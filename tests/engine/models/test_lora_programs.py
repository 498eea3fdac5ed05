"""LoRA files of other programs: the names that ComfyUI looks up, what A1111 and Forge read."""

from pathlib import Path

import pytest
import torch
from tiny_pipelines import MAKERS, Folders

from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import HeroError
from hero_engine.models.lora import layer_names
from hero_engine.models.lora_files import diffusers_lora, kohya_lora
from hero_engine.models.lora_programs import base_metadata, layout_for
from hero_engine.models.pipeline_loading import bare_network

COMFYUI = {
    "sd2": "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
    "sdxl": "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q",
    "sd3": "transformer.transformer_blocks.0.attn.to_q",
    "flux": "transformer.single_transformer_blocks.0.attn.to_q",
    "kontext": "transformer.single_transformer_blocks.0.attn.to_q",
    "schnell": "transformer.transformer_blocks.0.attn.to_q",
    "flux2": "transformer.transformer_blocks.0.attn.to_q",
    "flux2_klein": "transformer.transformer_blocks.0.attn.to_q",
    "z_image": "transformer.noise_refiner.0.attention.to_q",
    "qwen_image": "transformer.transformer_blocks.0.attn.to_q",
    "chroma": "transformer.single_transformer_blocks.0.attn.to_q",
    "lumina2": "lora_unet_context_refiner_0_attention_qkv",
    "krea2": "transformer.text_fusion.refiner_blocks.0.attn.to_q",
    "aura_flow": "transformer.joint_transformer_blocks.0.attn.to_q",
    "pixart_sigma": "transformer.transformer_blocks.0.attn1.to_q",
    "hunyuan_image": "lora_unet_txt_in_individual_token_refiner_blocks_0_self_attn_qkv",
    "sana": "",
    "cogview4": "",
    "ovis_image": "",
}
"""A name that ComfyUI looks up (comfy/lora.py), of each pipeline; empty if it knows none."""


@pytest.mark.parametrize("kind", MAKERS)
def test_comfyui_finds_it(folders: Folders, kind: str, tmp_path: Path) -> None:
    """Under a name that it looks up, or the refusal names what reads the file."""
    facts, part, network = bare_network(str(folders(kind)))
    layers = [name for name in layer_names(network) if name.endswith((".to_q", ".to_out.0"))]
    if not COMFYUI[kind]:
        with pytest.raises(HeroError, match=r"ComfyUI reads no LoRA for .* write --for diffusers"):
            layout_for("comfyui", facts, layers)
        return
    layout = layout_for("comfyui", facts, layers)
    state = {}
    for layer in layers:
        weight = network.get_submodule(layer).weight
        state[f"{layer}.lora_A.weight"] = torch.ones(2, weight.shape[1])
        state[f"{layer}.lora_B.weight"] = torch.ones(len(weight), 2)
    lora = LoraSettings(rank=2, alpha=2)
    if layout == "kohya":
        names = kohya_lora(state, lora, facts, network)
    else:
        names = diffusers_lora(state, lora, part)
    up = "lora_up" if layout == "kohya" else "lora_B"
    assert f"{COMFYUI[kind]}.{up}.weight" in names


def test_layers_that_comfyui_does_not_read_are_named(folders: Folders) -> None:
    facts = bare_network(str(folders("flux2")))[0]
    with pytest.raises(HeroError, match=r"no LoRA on double_stream_modulation_img\.linear of Flux"):
        layout_for("comfyui", facts, ["double_stream_modulation_img.linear"])


@pytest.mark.parametrize(
    ("kind", "prediction", "version", "architecture"),
    [
        ("sd2", "v_prediction", "sd_v2_v", "stable-diffusion-v2-768-v/lora"),
        ("sdxl", "epsilon", "sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
        ("flux", "", "flux1", "flux-1-dev/lora"),
        ("schnell", "", "flux1", "flux-1-schnell/lora"),
    ],
)
def test_lists_sort_it_under_its_base(
    folders: Folders, kind: str, prediction: str, version: str, architecture: str
) -> None:
    """What A1111 and Forge read (extensions-builtin, network.py); empty for kinds unknown."""
    facts, _, network = bare_network(str(folders(kind)))
    told = base_metadata(facts, network, prediction)
    assert told["ss_base_model_version"] == version
    assert told["ss_v2"] == str(kind == "sd2")
    assert told["modelspec.architecture"] == architecture
    assert layout_for("a1111", facts, []) == "kohya"
    assert base_metadata(bare_network(str(folders("sana")))[0], network, "") == {}
    with pytest.raises(HeroError, match="A1111 and Forge read no LoRA for Sana"):
        layout_for("a1111", bare_network(str(folders("sana")))[0], [])
