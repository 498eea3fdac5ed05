"""What the engine's tests use in place of a real model, and formulas written out once more."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from hero_engine.config.settings import LoraSettings
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.ddim import Diffusion

WIDE_LORA = LoraSettings(rank=2, alpha=3, targets=("to_q", "to_k", "to_v", "to_out.0", "conv"))


def write_pipeline(
    folder: Path, channels: int, size: int | tuple[int, int], vae_levels: int = 2
) -> Path:
    """A random pipeline: UNet of one level, 2-layer text encoder, 16 tokens.

    vae_levels: pictures are 2^(vae_levels - 1) times as large as latents.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel as UNet
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(7)
    letters = [chr(code) for code in range(97, 123)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{x}</w>" for x in letters)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    unet = UNet(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * vae_levels,
        up_block_types=("UpDecoderBlock2D",) * vae_levels,
        block_out_channels=(8,) * vae_levels,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


class LineModel:
    """A stand-in for `Model` whose prediction is a * x + b, in double precision.

    Its base, without "LoRA", is a = b = 0. Everything about it can be worked out by hand.
    """

    def __init__(
        self, slope: float, offset: float, *, to_one: bool = True, kind: str = "epsilon"
    ) -> None:
        from diffusers import DDIMScheduler

        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))
        self.offset = nn.Parameter(torch.tensor(offset, dtype=torch.float64))
        self.scheduler = DDIMScheduler(
            set_alpha_to_one=to_one, clip_sample=False, prediction_type=kind
        )
        self.process = Diffusion(self.scheduler)
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self.is_base = False

    def predict(
        self,
        latents: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        """The same for every prompt and any guidance."""
        return self.predicted(latents, timesteps)

    def predicted(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        """a x + b, or 0 for the base."""
        if self.is_base:
            return torch.zeros_like(latents)
        return self.slope * latents + self.offset

    def lora_parameters(self) -> list[nn.Parameter]:
        """a and b."""
        return [self.slope, self.offset]

    @contextmanager
    def base(self) -> Iterator[None]:
        """Predict 0 inside."""
        self.is_base = True
        try:
            yield
        finally:
            self.is_base = False

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Nothing to merge."""
        yield


class BellModel(LineModel):
    """The perfect denoiser of N(m, 0.3^2), m its one weight: sampling it gives that bell.

    With a reward for nearness to a target the best m is the target. Its base has m = 0.
    """

    SPREAD = 0.3

    def __init__(self) -> None:
        super().__init__(1.0, 0.0)

    def lora_parameters(self) -> list[nn.Parameter]:
        """m."""
        return [self.offset]

    def predicted(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        """E[noise | x_t]: x_t has mean sqrt(a) m and variance a s^2 + 1 - a."""
        alpha = self.scheduler.alphas_cumprod.double()[timesteps].view(-1, 1, 1, 1)
        mean = 0.0 if self.is_base else self.offset
        variance = alpha * self.SPREAD**2 + 1 - alpha
        return (1 - alpha).sqrt() * (latents - alpha.sqrt() * mean) / variance


def normal_log_density(x: float, mean: float, std: float) -> float:
    """By the book, for one number."""
    return -((x - mean) ** 2) / (2 * std * std) - math.log(std * math.sqrt(2 * math.pi))


def ddim_by_hand(
    x: float, output: float, a: float, a_prev: float, eta: float, kind: str
) -> tuple[float, float]:
    """DDIM's equations 12 and 16 for one number."""
    if kind == "epsilon":
        noise = output
        clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
    else:
        clean = math.sqrt(a) * x - math.sqrt(1 - a) * output
        noise = math.sqrt(a) * output + math.sqrt(1 - a) * x
    std = eta * math.sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev))
    mean = math.sqrt(a_prev) * clean + math.sqrt(1 - a_prev - std**2) * noise
    return mean, std
