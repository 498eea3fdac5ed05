"""Which programs read a LoRA file of which model, by their own sources.

ComfyUI: comfy/lora.py (`model_lora_keys_unet`) and the maps in comfy/utils.py. A1111:
extensions-builtin/Lora/network.py; Forge has ComfyUI's maps, and Flux besides. What they sort
their lists by: kohya-ss/sd-scripts, library/sai_model_spec.py and train_network.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from hero_engine.core.errors import HeroError
from hero_engine.models.pipeline_facts import Layout, PipelineFacts

Program = Literal["diffusers", "comfyui", "a1111"]
PROGRAMS: tuple[str, ...] = get_args(Program)

JOINT = r"attn2?\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
FEED_FORWARD = r"ff(_context)?\.net\.(0\.proj|2)"
FLUX = (
    rf"transformer_blocks\.\d+\.({JOINT}|{FEED_FORWARD}|norm1(_context)?\.linear)"
    r"|single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp|proj_out|norm\.linear)"
    r"|x_embedder|context_embedder|proj_out|norm_out\.linear"
    r"|time_text_embed\.(timestep|text|guidance)_embedder\.linear_[12]"
)
FLUX_2 = (
    rf"transformer_blocks\.\d+\.({JOINT}|ff(_context)?\.linear_(in|out))"
    r"|single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)"
    r"|x_embedder|context_embedder|proj_out|norm_out\.linear"
)
COMFYUI_LAYERS: Mapping[str, str] = {
    "StableDiffusion3Pipeline": (
        rf"transformer_blocks\.\d+\.({JOINT}|{FEED_FORWARD}|norm1(_context)?\.linear)"
        r"|time_text_embed\.(timestep|text)_embedder\.linear_[12]"
        r"|context_embedder|pos_embed\.proj|proj_out|norm_out\.linear"
    ),
    "FluxPipeline": FLUX,
    "FluxKontextPipeline": FLUX,
    "ChromaPipeline": FLUX,
    "Flux2Pipeline": FLUX_2,
    "Flux2KleinPipeline": FLUX_2,
    "QwenImagePipeline": r".+",
    "QwenImageEditPipeline": r".+",
    "QwenImageEditPlusPipeline": r".+",
    "ZImagePipeline": (
        r"(layers|noise_refiner|context_refiner)\.\d+\."
        r"(attention\.(to_[qkv]|to_out\.0)|feed_forward\.w[123]|adaLN_modulation\.0)"
        r"|all_final_layer\.2-1\.(linear|adaLN_modulation\.1)|all_x_embedder\.2-1"
        r"|cap_embedder\.1|t_embedder\.mlp\.[02]"
    ),
    "Krea2Pipeline": (
        r"(transformer_blocks|text_fusion\.(layerwise|refiner)_blocks)\.\d+\."
        r"(attn\.(to_[qkv]|to_gate|to_out\.0)|ff\.(gate|up|down))"
        r"|img_in|time_embed\.linear_[12]|time_mod_proj|txt_in\.linear_[12]"
        r"|text_fusion\.projector|final_layer\.linear"
    ),
    "AuraFlowPipeline": (
        rf"joint_transformer_blocks\.\d+\.({JOINT}|norm1(_context)?\.linear"
        r"|ff(_context)?\.(linear_[12]|out_projection))"
        r"|single_transformer_blocks\.\d+\."
        r"(attn\.(to_[qkv]|to_out\.0)|norm1\.linear|ff\.(linear_[12]|out_projection))"
        r"|time_step_proj\.linear_[12]|context_embedder|pos_embed\.proj|proj_out|norm_out\.linear"
    ),
    "PixArtSigmaPipeline": (
        r"transformer_blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))"
        r"|adaln_single\.(linear|emb\.\w+_embedder\.linear_[12])"
        r"|caption_projection\.linear_[12]|pos_embed\.proj|proj_out"
    ),
}
"""Layers under diffusers' names that ComfyUI maps, of the models it reads in that layout."""


def layout_for(program: Program, facts: PipelineFacts, layers: Iterable[str]) -> Layout:
    """The layout that a program reads for such a model.

    HeroError, exit code 2, if it reads none, or not all of these layers.
    """
    match program:
        case "diffusers":
            return "diffusers"
        case "a1111":
            if not facts.a1111:
                raise _unread("a1111", f"A1111 and Forge read no LoRA for {facts.title}", facts)
            return "kohya"
        case "comfyui":
            if not facts.comfyui:
                raise _unread("comfyui", f"ComfyUI reads no LoRA for {facts.title}", facts)
            if facts.comfyui == "diffusers":
                _check_layers(facts, layers)
            return facts.comfyui


def _check_layers(facts: PipelineFacts, layers: Iterable[str]) -> None:
    read = re.compile(COMFYUI_LAYERS[facts.pipeline])
    unread = [layer for layer in layers if not read.fullmatch(layer)]
    if unread:
        raise HeroError(
            f"--for comfyui: ComfyUI reads no LoRA on {unread[0]} of {facts.title}; train without "
            "this layer (lora.targets), or write --for diffusers"
        )


def _unread(program: Program, reason: str, facts: PipelineFacts) -> HeroError:
    others = [
        f"--for {name}"
        for name, reads in (("comfyui", facts.comfyui), ("a1111", facts.a1111))
        if reads and name != program
    ]
    return HeroError(
        f"--for {program}: {reason}; write {' or '.join([*others, '--for diffusers'])}"
    )


BFL = "https://github.com/black-forest-labs/flux"
STABILITY = "https://github.com/Stability-AI/generative-models"


def base_metadata(facts: PipelineFacts, network: Any, prediction: str) -> dict[str, str]:
    """What A1111, Forge and ComfyUI's managers tell the base model by; empty for a kind unknown.

    network: the bare one, whose configuration tells the versions apart. prediction:
    "v_prediction", "epsilon" or "" for flows.
    """
    by_v = prediction == "v_prediction"
    versions = _versions(facts, network, by_v)
    if not versions:
        return {}
    architecture, implementation, version = versions
    made = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": implementation,
    }
    if prediction:
        made["modelspec.prediction_type"] = "v" if by_v else "epsilon"
    if version:
        made |= {
            "ss_base_model_version": version,
            "ss_v2": str(version.startswith("sd_v2")),
        }
    return made


Versions = tuple[str, str, str]
"""modelspec's architecture and implementation, kohya's version (empty: not documented)."""

VERSIONS: Mapping[str, Versions] = {
    "StableDiffusionXLPipeline": ("stable-diffusion-xl-v1-base", STABILITY, "sdxl_base_v1-0"),
    "StableDiffusion3Pipeline": ("stable-diffusion-3", "diffusers", ""),
    "ChromaPipeline": ("chroma", "diffusers", "chroma"),
    "Lumina2Pipeline": ("lumina-2", "https://github.com/Alpha-VLLM/Lumina-Image-2.0", ""),
}


def _versions(facts: PipelineFacts, network: Any, by_v: bool) -> Versions | None:
    if facts.pipeline == "FluxPipeline":
        kind = "dev" if network.config.get("guidance_embeds") else "schnell"
        return f"flux-1-{kind}", BFL, "flux1"
    if facts.pipeline != "StableDiffusionPipeline":
        return VERSIONS.get(facts.pipeline)
    suffix = "_v" if by_v else ""
    if not network.config.get("use_linear_projection"):
        return "stable-diffusion-v1", "diffusers", f"sd_v1{suffix}"
    size = "768-v" if by_v else "512"
    return f"stable-diffusion-v2-{size}", "diffusers", f"sd_v2{suffix}"
