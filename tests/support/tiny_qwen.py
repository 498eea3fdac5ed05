"""Tiny random pipelines of the Qwen-Image family: from a prompt, and from a picture to change."""

from typing import Any

from tiny_parts import byte_tokenizer, flow, qwen_processor, qwen_vae, qwen_vl


def qwen_image() -> Any:
    """Two calls of the network where it is guided."""
    from diffusers import QwenImagePipeline, QwenImageTransformer2DModel

    network = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    return QwenImagePipeline(
        scheduler=flow(use_dynamic_shifting=True),
        vae=qwen_vae(),
        text_encoder=qwen_vl(16, [1, 1, 2]),
        tokenizer=byte_tokenizer(),
        transformer=network,
    )


def qwen_edit() -> Any:
    """The same, which changes a picture that its text encoder sees too."""
    from diffusers import QwenImageEditPipeline

    return QwenImageEditPipeline(**_seeing())


def qwen_edit_plus() -> Any:
    """The next version of it."""
    from diffusers import QwenImageEditPlusPipeline

    return QwenImageEditPlusPipeline(**_seeing())


def _seeing() -> dict[str, Any]:
    """The components of Qwen-Image, and what reads the picture for the text encoder."""
    parts: dict[str, Any] = qwen_image().components
    processor = qwen_processor()
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    encoder = qwen_vl(16, [1, 1, 2], image_token=pad)
    return parts | {
        "processor": processor,
        "tokenizer": processor.tokenizer,
        "text_encoder": encoder,
    }
