"""Open a diffusers Stable Diffusion pipeline: freeze it, attach LoRA, pick device and precision.

Everything the engine needs of the model is in `Model`; no other file knows diffusers' classes.
No library may print here: the terminal belongs to the app, stdout to JSON lines.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hero_engine.config import LoraSettings
from hero_engine.errors import ExitCode, HeroError
from hero_engine.seeds import seed_number
from hero_engine.sources import find_model

LARGE_PICTURE = 256
TARGET_GROUPS = {
    "conv": ("conv1", "conv2"),
    "ff": ("ff.net.0.proj", "ff.net.2"),
    "time": ("time_emb_proj",),
}


class Model:
    """A frozen latent diffusion model with trainable LoRA weights in its UNet.

    unet, vae, text_encoder, tokenizer: diffusers' and transformers' own, in eval mode throughout.
    scheduler: DDIM with the pipeline's own noise schedule.
    dtype: the UNet's; LoRA weights, latents and the VAE are float32 always.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler: Any,
        *,
        device: torch.device,
        dtype: torch.dtype,
        lora: LoraSettings,
    ) -> None:
        self.unet, self.vae = unet, vae
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.scheduler = scheduler
        self.device, self.dtype, self.lora = device, dtype, lora
        self._prompts: dict[str, Tensor] = {}

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts: "epsilon", "v_prediction" or "sample"."""
        return str(self.scheduler.config.prediction_type)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a latent."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.unet.config.in_channels), int(height), int(width)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of a picture in pixels."""
        scale = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.latent_shape[1] * scale, self.latent_shape[2] * scale

    @torch.no_grad()
    def encode_prompt(self, text: str) -> Tensor:
        """The text encoder's last hidden state, (1, T, D), remembered for the next call."""
        if text not in self._prompts:
            tokens = self.tokenizer(
                text,
                padding="max_length",
                max_length=self.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            encoded = self.text_encoder(tokens.input_ids.to(self.device))[0]
            self._prompts[text] = encoded.to(self.dtype)
        return self._prompts[text]

    @torch.no_grad()
    def decode(self, latents_B_C_H_W: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Pictures as uint8, (B, height, width, 3)."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        scaled = latents_B_C_H_W.to(self.device, torch.float32) / self.vae.config.scaling_factor
        pictures = self.vae.decode(scaled + shift).sample
        pixels = ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        decoded: np.ndarray[Any, np.dtype[np.uint8]] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return decoded

    def predict(
        self,
        latents_B_C_H_W: Tensor,
        timesteps_B: Tensor,
        prompt_1_T_D: Tensor,
        negative_1_T_D: Tensor | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """The UNet's raw output (see `prediction_type`) in the latents' dtype; differentiable.

        guidance > 1 needs `negative_1_T_D` and makes one call on [negative, positive] rows
        (classifier-free guidance); guidance <= 1 is a single call without it.
        """
        rows, inputs = len(latents_B_C_H_W), latents_B_C_H_W.to(self.device, self.dtype)
        timesteps = timesteps_B.to(self.device)
        if guidance <= 1:
            return self._unet(inputs, timesteps, prompt_1_T_D.expand(rows, -1, -1), latents_B_C_H_W)
        if negative_1_T_D is None:
            raise ValueError("classifier-free guidance needs a negative prompt's embedding")
        prompts = torch.cat(
            [negative_1_T_D.expand(rows, -1, -1), prompt_1_T_D.expand(rows, -1, -1)]
        )
        both = self._unet(
            torch.cat([inputs, inputs]), torch.cat([timesteps, timesteps]), prompts, latents_B_C_H_W
        )
        negative, positive = both.chunk(2)
        return negative + guidance * (positive - negative)

    def _unet(self, inputs: Tensor, timesteps: Tensor, prompts: Tensor, like: Tensor) -> Tensor:
        output: Tensor = self.unet(
            inputs, timesteps, encoder_hidden_states=prompts, return_dict=False
        )[0]
        return output.to(like.dtype)

    def lora_parameters(self) -> list[nn.Parameter]:
        """The trainable weights, in a fixed order."""
        return [weight for name, weight in self.unet.named_parameters() if ".lora_" in name]

    def lora_state(self) -> dict[str, Tensor]:
        """A copy of the LoRA weights on the CPU under peft's names (no adapter name in them)."""
        from peft.utils import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.unet)
        return {name: weight.detach().cpu().clone() for name, weight in state.items()}

    def load_lora_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `lora_state` gave. ValueError where names or shapes differ."""
        own = dict(self._lora_by_portable_name())
        if own.keys() != state.keys():
            raise ValueError("these LoRA weights were made for other layers")
        for name, weight in own.items():
            if weight.shape != state[name].shape:
                raise ValueError(f"these LoRA weights have another shape: {name}")
            weight.data.copy_(state[name])

    def _lora_by_portable_name(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, weight in self.unet.named_parameters():
            if ".lora_" in name:
                yield name.replace(".default.", "."), weight

    @contextmanager
    def base(self) -> Iterator[None]:
        """The frozen model without its LoRA, for as long as the block lasts."""
        self.unet.disable_adapters()
        try:
            yield
        finally:
            self.unet.enable_adapters()


def open_model(name: str, lora: LoraSettings, device: str = "auto", *, seed: int = 0) -> Model:
    """A model by name: "embedded", a folder with a diffusers pipeline, or a hub id.

    device: "auto" (a GPU where there is one), or any torch device. The LoRA's first weights come
    from `seed`. HeroError, exit code 3, in one line, when it cannot be opened.
    """
    where = torch.device(_pick_device(device))
    pipeline = _load_pipeline(find_model(name), name)
    dtype = _pick_dtype(where)
    unet = pipeline.unet.to(where, dtype).requires_grad_(False).eval()
    attach_lora(unet, lora, seed)
    model = Model(
        unet,
        pipeline.vae.to(where, torch.float32).requires_grad_(False).eval(),
        pipeline.text_encoder.to(where, dtype).requires_grad_(False).eval(),
        pipeline.tokenizer,
        _ddim(pipeline.scheduler),
        device=where,
        dtype=dtype,
        lora=lora,
    )
    if max(model.picture_size) >= LARGE_PICTURE:
        model.vae.enable_slicing()
    return model


def portable_lora(state: Mapping[str, Tensor], lora: LoraSettings) -> dict[str, Tensor]:
    """What `Model.lora_state` gave, as diffusers' `load_lora_weights` reads it.

    The scale alpha / rank is folded into the B matrices, so that no reader needs to know alpha.
    """
    scale = lora.alpha / lora.rank
    return {
        f"unet.{name}": (weight * scale if ".lora_B." in name else weight).contiguous()
        for name, weight in state.items()
    }


def attach_lora(unet: Any, lora: LoraSettings, seed: int) -> None:
    """Add float32 LoRA weights to a frozen UNet: A ~ N(0, 1/rank), B = 0, so nothing changes yet.

    Targets match the end of module names; "conv" stands for the residual blocks' convolutions,
    "ff" for the feed-forward layers, "time" for the time embedding's projections.
    HeroError, exit code 2, where a target names no layer.
    """
    from peft import LoraConfig

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        init_lora_weights="gaussian",
        target_modules=list(_target_modules(unet, lora.targets)),
    )
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(seed_number(seed, "init", 0, 0))
        unet.add_adapter(config)
    for weight_name, weight in unet.named_parameters():
        if ".lora_" in weight_name:
            weight.data = weight.data.float()
    unet.eval()


def _target_modules(unet: Any, targets: tuple[str, ...]) -> Iterator[str]:
    layers = [
        name for name, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    for target in targets:
        suffixes = TARGET_GROUPS.get(target, (target,))
        if not any(layer.endswith(f".{suffix}") for suffix in suffixes for layer in layers):
            raise HeroError(f"lora.targets: {target!r} names no layer of this model's UNet")
        yield from suffixes


def _load_pipeline(source: str, name: str) -> Any:
    """Any failure of the libraries, whatever its type, becomes one line for the user."""
    with _quiet():
        try:
            from diffusers import StableDiffusionPipeline

            return StableDiffusionPipeline.from_pretrained(
                source,
                torch_dtype=torch.float32,
                safety_checker=None,
                requires_safety_checker=False,
                use_safetensors=True,
                local_files_only=Path(source).is_dir(),
            )
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise HeroError(
                f"cannot open model {name}: {reason}", exit_code=ExitCode.ENVIRONMENT
            ) from error


def _ddim(scheduler: Any) -> Any:
    """DDIM on the pipeline's own schedule. Latents are never clipped or thresholded to [-1, 1]."""
    from diffusers import DDIMScheduler

    with _quiet():
        return DDIMScheduler.from_config(scheduler.config, clip_sample=False, thresholding=False)


def _pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _pick_dtype(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' warnings and progress bars off stdout and stderr.

    transformers warns while diffusers imports it (torchvision is not needed here), so its
    verbosity is set before diffusers is imported.
    """
    import transformers.utils.logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    import diffusers.utils.logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
