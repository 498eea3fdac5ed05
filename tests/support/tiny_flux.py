"""Tiny random pipelines of the Flux family, of diffusers' real classes.

Their configurations follow diffusers' own tests. `tiny_pipelines.MAKERS` has them all by name.
"""

from typing import Any

from tiny_parts import (
    LETTER_TOKENS,
    TEXT,
    VOCABULARY,
    byte_tokenizer,
    clip,
    clip_tokenizer,
    flow,
    flow_vae,
    flux2_vae,
    qwen3,
    t5,
    t5_tokenizer,
    vae,
)


def flux(*, distilled: bool = True) -> Any:
    """A double and a single block; CLIP's pooled vector, T5's states."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=TEXT,
            pooled_projection_dim=TEXT,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=distilled,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=distilled),
        vae=vae(4, shift_factor=0.06, scaling_factor=1.5),
        text_encoder=clip(projected=False),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(TEXT, LETTER_TOKENS),
        tokenizer_2=t5_tokenizer(),
    )


def kontext() -> Any:
    """Flux with an input picture."""
    from diffusers import FluxKontextPipeline

    return FluxKontextPipeline(**flux().components)


def schnell() -> Any:
    """Flux without guidance as an input."""
    return flux(distilled=False)


def _flux2_network(*, embedded: bool) -> Any:
    from diffusers import Flux2Transformer2DModel

    return Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=256,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=embedded,
    )


def flux2_klein() -> Any:
    """Flux.2-klein: its text is read from three layers of a language model."""
    from diffusers import Flux2KleinPipeline

    return Flux2KleinPipeline(
        scheduler=flow(use_dynamic_shifting=True),
        vae=flux2_vae(),
        text_encoder=qwen3("Qwen3ForCausalLM", layers=28),
        tokenizer=byte_tokenizer(512),
        transformer=_flux2_network(embedded=False),
    )


def flux2() -> Any:
    """Flux.2-dev: guidance is an input of the network."""
    from diffusers import Flux2Pipeline
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    text = {
        "model_type": "mistral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 31,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": VOCABULARY,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "image_size": 16,
        "patch_size": 8,
    }
    encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=vision)
    )
    return Flux2Pipeline(
        scheduler=flow(use_dynamic_shifting=True),
        vae=flux2_vae(),
        text_encoder=encoder,
        tokenizer=byte_tokenizer(512),
        transformer=_flux2_network(embedded=True),
    )


def chroma() -> Any:
    """Its prompt's padding is masked."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    network = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[4, 4, 8],
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    return ChromaPipeline(
        scheduler=flow(),
        vae=flow_vae(1, (4,)),
        text_encoder=t5(32),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )
