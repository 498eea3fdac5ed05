"""What the driver cannot read from a pipeline's own call: one row a pipeline of diffusers.

A text-to-image pipeline without a row opens with the defaults of `PipelineFacts`, and says so.
Steps and guidance are those of the pipelines' documentation, but 28 steps for Flux.2, Qwen-Image
and Chroma (50, 50 and 40 there); size is what a round can afford. LoRA targets are those of
diffusers' own training scripts (examples/dreambooth), but for Flux.1's feed-forward layers; where
there is no script, attention's four layers.
Imports no torch, so that a model's settings are known at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Naming = Literal["", "diffusers", "stability", "flux", "chroma", "sd3", "lumina", "hunyuan"]
"""How kohya's files name the network's layers (`lora_names`, `original_names`); empty: unknown."""

Layout = Literal["diffusers", "kohya"]
"""Of a LoRA file."""


@dataclass(frozen=True)
class PipelineFacts:
    """One pipeline.

    title: for a person. pipeline: its class, which `facts_of` fills in. guidance: the argument of
    its call for classifier-free guidance; empty if it has none. off: guidance is off at this
    scale and below. embedded: the argument for a network that takes its guidance as an input, where
    the network's configuration says so (`guidance_embeds`). distilled: the pipeline's setting that
    takes guidance away. no_negative: what its call gets for an empty negative prompt. call: further
    arguments of its call. settings: a run's settings that differ from preset `paper`, which is
    Stable Diffusion 1.5's. comfyui: the layout of LoRA files that ComfyUI reads for it
    (comfy/lora.py); empty for none. a1111: whether A1111 or Forge read kohya's. parameters: weights
    of the published network, of the smallest where there are several; 0: unknown. needs_picture:
    True for a pipeline that only changes pictures. known: False for a pipeline without a row.
    """

    title: str
    guidance: str = "guidance_scale"
    off: float = 1.0
    embedded: str = ""
    no_negative: str | None = ""
    distilled: str = ""
    call: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    kohya: Naming = ""
    comfyui: Layout | Literal[""] = ""
    a1111: bool = False
    parameters: float = 0
    needs_picture: bool = False
    known: bool = True
    pipeline: str = ""


def _flow(steps: int, guidance: float, size: int = 512, **more: Any) -> dict[str, Any]:
    """A rectified flow: half the noise of a step, no guidance in training."""
    sampler = {"steps": steps, "eta": 0.5, "guidance": guidance, "height": size, "width": size}
    return {"sampler": sampler | more}


def _lora(*more: str) -> dict[str, Any]:
    """Attention's four layers, as in every preset, and these."""
    return {"lora": {"targets": ["to_q", "to_k", "to_v", "to_out.0", *more]}}


FLUX_2_LORA = _lora("to_qkv_mlp_proj", "attn.to_out")
"""Most blocks of Flux.2 have their attention in one layer with the feed-forward."""

JOINT_LORA = _lora("text")
"""The text's side of joint attention too."""

NO_BINNING = {"use_resolution_binning": False}
"""A picture of the size that was asked for, not of the nearest one in a list."""

FACTS: dict[str, PipelineFacts] = {
    "StableDiffusionPipeline": PipelineFacts(
        "Stable Diffusion 1.x and 2.x",
        kohya="diffusers",
        comfyui="kohya",
        a1111=True,
        parameters=0.86e9,
    ),
    "StableDiffusionXLPipeline": PipelineFacts(
        "Stable Diffusion XL",
        no_negative=None,
        kohya="stability",
        comfyui="kohya",
        a1111=True,
        parameters=2.57e9,
    ),
    "StableDiffusion3Pipeline": PipelineFacts(
        "Stable Diffusion 3 and 3.5",
        settings={"sampler": {"steps": 28, "eta": 0.5, "guidance": 4.5}} | JOINT_LORA,
        kohya="sd3",
        comfyui="diffusers",
        parameters=2.08e9,
    ),
    "FluxPipeline": PipelineFacts(
        "Flux.1",
        guidance="true_cfg_scale",
        embedded="guidance_scale",
        settings={"sampler": {"steps": 28, "eta": 0.5, "guidance": 3.5}} | JOINT_LORA,
        kohya="flux",
        comfyui="diffusers",
        a1111=True,
        parameters=11.9e9,
    ),
    "FluxKontextPipeline": PipelineFacts(
        "Flux.1 Kontext",
        guidance="true_cfg_scale",
        embedded="guidance_scale",
        settings=_flow(28, 2.5),
        kohya="flux",
        comfyui="diffusers",
        parameters=11.9e9,
    ),
    "Flux2Pipeline": PipelineFacts(
        "Flux.2",
        guidance="",
        embedded="guidance_scale",
        settings=_flow(28, 4.0) | FLUX_2_LORA,
        comfyui="diffusers",
        parameters=32e9,
    ),
    "Flux2KleinPipeline": PipelineFacts(
        "Flux.2-klein",
        distilled="is_distilled",
        settings=_flow(4, 1.0) | FLUX_2_LORA,
        comfyui="diffusers",
        parameters=3.9e9,
    ),
    "ZImagePipeline": PipelineFacts(
        "Z-Image", off=0.0, settings=_flow(9, 0.0), comfyui="diffusers", parameters=6.15e9
    ),
    "QwenImagePipeline": PipelineFacts(
        "Qwen-Image",
        guidance="true_cfg_scale",
        settings=_flow(28, 4.0),
        comfyui="diffusers",
        parameters=20.4e9,
    ),
    "QwenImageEditPipeline": PipelineFacts(
        "Qwen-Image-Edit",
        guidance="true_cfg_scale",
        settings=_flow(28, 4.0),
        comfyui="diffusers",
        parameters=20.4e9,
        needs_picture=True,
    ),
    "QwenImageEditPlusPipeline": PipelineFacts(
        "Qwen-Image-Edit-2509",
        guidance="true_cfg_scale",
        settings=_flow(28, 4.0),
        comfyui="diffusers",
        parameters=20.4e9,
        needs_picture=True,
    ),
    "ChromaPipeline": PipelineFacts(
        "Chroma", settings=_flow(28, 5.0), kohya="chroma", comfyui="diffusers", parameters=8.9e9
    ),
    "SanaPipeline": PipelineFacts(
        "Sana", call=NO_BINNING, settings=_flow(20, 4.5), parameters=0.6e9
    ),
    "Lumina2Pipeline": PipelineFacts(
        "Lumina Image 2.0",
        settings=_flow(30, 4.0),
        kohya="lumina",
        comfyui="kohya",
        parameters=2.6e9,
    ),
    "Krea2Pipeline": PipelineFacts(
        "Krea 2", off=0.0, settings=_flow(28, 4.5) | _lora("to_gate"), comfyui="diffusers"
    ),
    "CogView4Pipeline": PipelineFacts("CogView4", settings=_flow(50, 5.0), parameters=6e9),
    "AuraFlowPipeline": PipelineFacts(
        "AuraFlow", settings=_flow(50, 3.5), comfyui="diffusers", parameters=6.8e9
    ),
    "PixArtSigmaPipeline": PipelineFacts(
        "PixArt-Sigma",
        call=NO_BINNING,
        settings={"sampler": {"steps": 20, "guidance": 4.5}},
        comfyui="diffusers",
        parameters=0.6e9,
    ),
    "HunyuanImagePipeline": PipelineFacts(
        "HunyuanImage 2.1",
        guidance="guider",
        embedded="distilled_guidance_scale",
        settings=_flow(50, 3.5, 1024),
        kohya="hunyuan",
        comfyui="kohya",
        parameters=17e9,
    ),
}


def facts_of(pipeline_class: str) -> PipelineFacts:
    """The row of a pipeline's class, or the defaults under its name."""
    default = PipelineFacts(pipeline_class, settings=_flow(28, 4.0), known=False)
    return replace(FACTS.get(pipeline_class, default), pipeline=pipeline_class)
