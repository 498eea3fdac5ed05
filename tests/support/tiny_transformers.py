"""Tiny random pipelines around transformers, of diffusers' real classes.

Their configurations follow diffusers' own tests. `tiny_pipelines.MAKERS` has them all by name.
"""

from typing import Any

import torch
from tiny_parts import (
    VOCABULARY,
    byte_tokenizer,
    flow,
    flow_vae,
    gemma2,
    qwen3,
    qwen_vae,
    qwen_vl,
    t5,
)


def z_image() -> Any:
    """Its network takes and gives lists."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    network = ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        norm_eps=1e-5,
        qk_norm=True,
        cap_feat_dim=16,
        rope_theta=256.0,
        t_scale=1000.0,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 32, 32],
    )
    with torch.no_grad():
        network.x_pad_token.fill_(1.0)
        network.cap_pad_token.fill_(1.0)
    return ZImagePipeline(
        scheduler=flow(shift=3.0),
        vae=flow_vae(16),
        text_encoder=qwen3(),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def sana() -> Any:
    """Linear attention."""
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    network = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=32,
    )
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=[1, 1],
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return SanaPipeline(
        scheduler=flow(shift=7.0),
        vae=vae,
        text_encoder=gemma2(),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def lumina2() -> Any:
    """Its time runs from 0 to 1."""
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    network = Lumina2Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=8,
        num_layers=2,
        num_attention_heads=1,
        num_kv_heads=1,
        multiple_of=16,
        ffn_dim_multiplier=None,
        norm_eps=1e-5,
        scaling_factor=1.0,
        axes_dim_rope=[4, 2, 2],
        cap_feat_dim=8,
        axes_lens=[1024, 64, 64],
    )
    return Lumina2Pipeline(
        scheduler=flow(shift=6.0),
        vae=flow_vae(4, (4, 4, 4, 4)),
        text_encoder=gemma2(),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def krea2() -> Any:
    """Three layers of its language model are read."""
    from diffusers import Krea2Pipeline, Krea2Transformer2DModel
    from transformers import Qwen3VLConfig, Qwen3VLModel

    network = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        timestep_embed_dim=8,
        text_hidden_dim=16,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
        rope_theta=1000.0,
    )
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": VOCABULARY,
    }
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
    }
    encoder = Qwen3VLModel(
        Qwen3VLConfig(text_config=text, vision_config=vision, vocab_size=VOCABULARY)
    )
    return Krea2Pipeline(
        scheduler=flow(use_dynamic_shifting=True, max_image_seq_len=6400),
        vae=qwen_vae(),
        text_encoder=encoder,
        tokenizer=byte_tokenizer(),
        transformer=network,
        text_encoder_select_layers=(0, 1, 2),
    )


def cogview4() -> Any:
    """Its timesteps are not its noise levels."""
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel
    from transformers import GlmConfig, GlmModel

    network = CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=4,
        out_channels=4,
        text_embed_dim=32,
        time_embed_dim=8,
        condition_dim=4,
    )
    encoder = GlmModel(
        GlmConfig(
            hidden_size=32,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=VOCABULARY,
            pad_token_id=0,
        )
    )
    scheduler = flow(
        base_shift=0.25,
        max_shift=0.75,
        base_image_seq_len=256,
        use_dynamic_shifting=True,
        time_shift_type="linear",
    )
    return CogView4Pipeline(
        scheduler=scheduler,
        vae=flow_vae(4),
        text_encoder=encoder,
        tokenizer=byte_tokenizer(begins=True),
        transformer=network,
    )


def aura_flow() -> Any:
    """A double and a single layer."""
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel
    from transformers import UMT5Config, UMT5EncoderModel

    network = AuraFlowTransformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        out_channels=4,
        pos_embed_max_size=256,
    )
    encoder = UMT5EncoderModel(
        UMT5Config(vocab_size=VOCABULARY, d_model=32, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )
    return AuraFlowPipeline(
        scheduler=flow(),
        vae=flow_vae(4),
        text_encoder=encoder,
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def ovis_image() -> Any:
    """No row in the table of facts."""
    from diffusers import OvisImagePipeline, OvisImageTransformer2DModel

    network = OvisImageTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    return OvisImagePipeline(
        scheduler=flow(),
        vae=flow_vae(1, (4,)),
        text_encoder=qwen3(width=32, heads=4),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def pixart_sigma() -> Any:
    """Predicts noise, and a variance that its pipeline leaves out."""
    from diffusers import DDIMScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    network = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )
    return PixArtSigmaPipeline(
        scheduler=DDIMScheduler(clip_sample=False),
        vae=flow_vae(4),
        text_encoder=t5(32),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def hunyuan_image() -> Any:
    """Guided by guiders, whose scale is no argument of the call."""
    from diffusers import (
        AutoencoderKLHunyuanImage,
        HunyuanImagePipeline,
        HunyuanImageTransformer2DModel,
    )
    from diffusers.guiders import AdaptiveProjectedMixGuidance
    from transformers import ByT5Tokenizer

    network = HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=(1, 1),
        guidance_embeds=False,
        text_embed_dim=32,
        text_embed_2_dim=32,
        rope_axes_dim=(4, 4),
    )
    vae = AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        scaling_factor=0.476986,
        spatial_compression_ratio=8,
        sample_size=128,
    )
    return HunyuanImagePipeline(
        scheduler=flow(shift=7.0),
        vae=vae,
        text_encoder=qwen_vl(32, [2, 2, 4]),
        tokenizer=byte_tokenizer(),
        text_encoder_2=t5(32, 400),
        tokenizer_2=ByT5Tokenizer(),
        transformer=network,
        guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=2),
        ocr_guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=3),
    )
