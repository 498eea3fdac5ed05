"""Random pipelines of diffusers' real classes, small enough for a test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_flux
import tiny_qwen
import tiny_transformers
import torch
from tiny_parts import LETTER_TOKENS, POOLED, TEXT, clip, clip_tokenizer, t5, t5_tokenizer, vae

Folders = Callable[[str], Path]
"""The folder of a pipeline in `MAKERS`, by its name."""


def unet(**settings: Any) -> Any:
    """Of channels (8, 16) and two layers a block, as real ones; for latents 4 x 8 x 8."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **settings,
    )


def sd2(**settings: Any) -> Any:
    """Stable Diffusion 2.x: predicts v, on a schedule whose end is pure noise.

    settings: of the UNet.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae(4),
        text_encoder=clip(projected=False),
        tokenizer=clip_tokenizer(),
        unet=unet(cross_attention_dim=TEXT, use_linear_projection=True, **settings),
        scheduler=DDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            set_alpha_to_one=False,
            steps_offset=1,
            clip_sample=False,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    """Two encoders, a pooled vector, and six numbers of sizes."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=vae(4),
        text_encoder=clip(projected=False),
        text_encoder_2=clip(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            cross_attention_dim=2 * TEXT,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=2,
            projection_class_embeddings_input_dim=POOLED + 6 * 2,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
        ),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def sd3() -> Any:
    """Two layers; the text of both CLIPs and of T5 side by side."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * TEXT,
            caption_projection_dim=16,
            pooled_projection_dim=2 * POOLED,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(4, shift_factor=0.06, scaling_factor=1.5),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(2 * TEXT, LETTER_TOKENS),
        tokenizer_3=t5_tokenizer(),
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "sd2": sd2,
    "sdxl": sdxl,
    "sd3": sd3,
    "flux": tiny_flux.flux,
    "schnell": tiny_flux.schnell,
    "kontext": tiny_flux.kontext,
    "flux2": tiny_flux.flux2,
    "flux2_klein": tiny_flux.flux2_klein,
    "z_image": tiny_transformers.z_image,
    "qwen_image": tiny_qwen.qwen_image,
    "chroma": tiny_flux.chroma,
    "sana": tiny_transformers.sana,
    "lumina2": tiny_transformers.lumina2,
    "krea2": tiny_transformers.krea2,
    "cogview4": tiny_transformers.cogview4,
    "aura_flow": tiny_transformers.aura_flow,
    "ovis_image": tiny_transformers.ovis_image,
    "pixart_sigma": tiny_transformers.pixart_sigma,
    "hunyuan_image": tiny_transformers.hunyuan_image,
}
"""By name. Stable Diffusion 1.x is `stand_ins.write_pipeline`."""

EDITORS: dict[str, Callable[[], Any]] = {
    "qwen_edit": tiny_qwen.qwen_edit,
    "qwen_edit_plus": tiny_qwen.qwen_edit_plus,
}
"""Pipelines that draw nothing without a picture to change."""


VARIED = ("sd2", "sdxl", "sd3", "flux", "schnell", "z_image", "qwen_image")
"""One of each way in which networks are built and called, for tests that take longer."""


def write(name: str, folder: Path) -> Path:
    """The pipeline in diffusers' layout; always the same weights, large enough to matter."""
    torch.manual_seed(11)
    pipeline = (MAKERS | EDITORS)[name]()
    pipeline.save_pretrained(folder)
    if name in EDITORS:  # diffusers leaves the stand-in out
        (folder / "processor").mkdir()
        index = json.loads((folder / "model_index.json").read_text())
        index["processor"] = ["transformers", "Qwen2VLProcessor"]
        (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def opened(folder: Path) -> Any:
    """As diffusers opens it."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
