"""Parts of tiny random pipelines: tokenizers, text encoders, autoencoders, schedulers."""

from typing import Any

TEXT, POOLED = 8, 8
"""Width of a CLIP's states, and of its pooled vector."""
LETTERS = [chr(code) for code in range(97, 123)]
LETTER_TOKENS = 30
"""Vocabulary of `t5_tokenizer`."""


def clip_tokenizer() -> Any:
    """A letter a token, 16 tokens."""
    from transformers import CLIPTokenizer

    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{x}</w>" for x in LETTERS)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)


def clip(*, projected: bool) -> Any:
    """A text encoder of two layers; with a projection its first output is the pooled vector."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=54,
        hidden_size=TEXT,
        intermediate_size=16,
        projection_dim=POOLED,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def t5_tokenizer() -> Any:
    """A letter a token."""
    from transformers import T5TokenizerFast

    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS]
    return T5TokenizerFast(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0)


def vae(channels: int, blocks: tuple[int, ...] = (8, 8), **settings: Any) -> Any:
    """Twice as many pixels as the latent has, each way, for each block after the first."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(blocks),
        up_block_types=("UpDecoderBlock2D",) * len(blocks),
        block_out_channels=blocks,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        mid_block_add_attention=False,
        **settings,
    )


VOCABULARY = 300
"""Of the language models: every byte, and a few special tokens."""

CHAT = (
    "{% for m in messages %}{{ m['role'] }}: "
    "{{ m['content'] if m['content'] is string else m['content'][0]['text'] }}\n{% endfor %}"
)


VISION = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")


def qwen_processor() -> Any:
    """Tokens for a picture among the bytes of a text, as Qwen2VLProcessor makes them.

    That class needs torchvision, for videos.
    """
    from transformers import BatchFeature, Qwen2VLImageProcessor

    class Processor:
        def __init__(self) -> None:
            self.images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=56 * 84)
            self.tokenizer = byte_tokenizer(1024, further=VISION)

        def __call__(self, text: list[str], images: Any, padding: bool, return_tensors: str) -> Any:
            seen = self.images(images, return_tensors=return_tensors)
            counts = iter((seen["image_grid_thw"].prod(1) // self.images.merge_size**2).tolist())
            pad = VISION[1]
            whole = [
                "".join(
                    part + (pad * next(counts) if place < each.count(pad) else "")
                    for place, part in enumerate(each.split(pad))
                )
                for each in text
            ]
            tokens = self.tokenizer(whole, padding=padding, return_tensors=return_tensors)
            return BatchFeature({**tokens, **seen})

    return Processor()


def byte_tokenizer(length: int = 64, *, begins: bool = False, further: tuple[str, ...] = ()) -> Any:
    """A byte a token; with a chat template. further: special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if begins:
        inner.post_processor = TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=length,
    )
    made.chat_template = CHAT
    made.add_special_tokens({"additional_special_tokens": [*further]})
    return made


def qwen3(kind: str = "Qwen3Model", *, width: int = 16, layers: int = 2, heads: int = 2) -> Any:
    """A language model."""
    import transformers

    config = transformers.Qwen3Config(
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
    )
    return getattr(transformers, kind)(config)


def qwen_vl(width: int, sections: list[int], image_token: int = 151655) -> Any:
    """A language model that can see. image_token: stands for a part of a picture."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"mrope_section": sections, "rope_type": "default", "type": "default"}
    text = {
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "rope_scaling": rope,
        "rope_theta": 1e6,
    }
    vision = {
        "depth": 2,
        "hidden_size": width,
        "intermediate_size": width,
        "num_heads": 2,
        "out_hidden_size": width,
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            hidden_size=width,
            vocab_size=VOCABULARY,
            image_token_id=image_token,
        )
    )


def t5(width: int, vocabulary: int = VOCABULARY) -> Any:
    """One layer."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=vocabulary, d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )


def gemma2() -> Any:
    """One layer."""
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(
        Gemma2Config(
            head_dim=16,
            hidden_size=8,
            intermediate_size=64,
            num_attention_heads=2,
            num_hidden_layers=1,
            num_key_value_heads=2,
            vocab_size=VOCABULARY,
            attn_implementation="eager",
        )
    )


def flux2_vae() -> Any:
    """With statistics in a batch norm, as Flux.2 has them."""
    from diffusers import AutoencoderKLFlux2

    vae = AutoencoderKLFlux2(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    return vae


def qwen_vae(channels: int = 4) -> Any:
    """With a mean and a standard deviation for each channel."""
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(
        base_dim=channels * 6,
        z_dim=channels,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1] * channels,
        latents_std=[1.3] * channels,
    )


def flow(**settings: Any) -> Any:
    """The scheduler of a rectified flow."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**settings)


def flow_vae(channels: int, blocks: tuple[int, ...] = (8, 16)) -> Any:
    """An autoencoder whose latents are scaled and shifted."""
    return vae(channels, blocks, scaling_factor=0.36, shift_factor=0.116)
