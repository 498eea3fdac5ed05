"""Open a diffusers pipeline of a known family: freeze it, attach LoRA, pick device and precision.

Everything the engine needs of the model is in `Model`; what differs between kinds of models is in
`families/`. No other file knows diffusers' classes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hero_engine.config.settings import LoraSettings, Settings
from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.diffusion_process import Process
from hero_engine.models.families import Family
from hero_engine.models.lora import attach_lora, lora_layers
from hero_engine.models.model_sources import configuration, find_model, model_family
from hero_engine.models.quiet_libraries import quiet

LARGE_PICTURE = 256
HUGE_PICTURE = 1536
"""Longer sides, in pixels, from which the VAE decodes one picture at a time, and in tiles."""

AMPLE_MEMORY = 32e9
"""Bytes of a GPU that can keep every activation of SD 1.5 at the paper's minibatch."""


@dataclass(frozen=True)
class Prompt:
    """A text as the network wants it.

    hidden_N_T_D: a state for each token. pooled_N_P: one vector for the whole, in families that
    have it. N is 1 for a text that was just encoded.
    """

    hidden_N_T_D: Tensor
    pooled_N_P: Tensor | None = None

    def expand(self, rows: int) -> Self:
        """The same for so many pictures, from one."""
        pooled = None if self.pooled_N_P is None else self.pooled_N_P.expand(rows, -1)
        return type(self)(self.hidden_N_T_D.expand(rows, -1, -1), pooled)

    def then(self, other: "Prompt") -> Self:
        """This one's rows, then the other's."""
        hidden = torch.cat([self.hidden_N_T_D, other.hidden_N_T_D])
        if self.pooled_N_P is None or other.pooled_N_P is None:
            return type(self)(hidden)
        return type(self)(hidden, torch.cat([self.pooled_N_P, other.pooled_N_P]))


class Model:
    """A frozen latent diffusion model with trainable LoRA weights in its network.

    network, vae: diffusers' own, in eval mode throughout. process: what predictions mean.
    dtype: the network's; LoRA weights, latents and the VAE are float32 always.
    latent_size: height and width of a latent; None for the model's own. guidance: the run's scale,
    for networks that take it as an input.
    """

    def __init__(
        self,
        family: Family,
        pipeline: Any,
        *,
        device: torch.device,
        dtype: torch.dtype,
        lora: LoraSettings,
        latent_size: tuple[int, int] | None = None,
        guidance: float = 1.0,
    ) -> None:
        self.guidance = guidance
        self.family, self._pipeline = family, pipeline
        self.network, self.vae = getattr(pipeline, family.network), pipeline.vae
        self.device, self.dtype, self.lora = device, dtype, lora
        size = latent_size or family.latent_size(self.network)
        self.latent_shape = (family.channels(self.network), *size)
        self.process: Process = family.process(pipeline, size)
        self._prompts: dict[str, Prompt] = {}

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of a picture in pixels."""
        scale = vae_scale(self.vae)
        return self.latent_shape[1] * scale, self.latent_shape[2] * scale

    @torch.no_grad()
    def encode_prompt(self, text: str) -> Prompt:
        """The text for `predict`, remembered for the next call."""
        if text not in self._prompts:
            with self._text_encoders_at_work():
                hidden, pooled = self.family.encode(self._pipeline, text, self.device)
            pooled = None if pooled is None else pooled.to(self.dtype)
            self._prompts[text] = Prompt(hidden.to(self.dtype), pooled)
        return self._prompts[text]

    @contextmanager
    def _text_encoders_at_work(self) -> Iterator[None]:
        """They are on the device only while they encode: T5 alone takes ten gigabytes."""
        parts = [each for each in self._pipeline.components.values() if isinstance(each, nn.Module)]
        encoders = [part for part in parts if part is not self.network and part is not self.vae]
        for encoder in encoders:
            encoder.to(self.device)
        try:
            yield
        finally:
            for encoder in encoders:
                encoder.to("cpu")

    @torch.no_grad()
    def decode(self, latents_B_C_H_W: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Pictures as uint8, (B, height, width, 3). HeroError, exit code 1, for NaN in them."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        scaled = latents_B_C_H_W.to(self.device, torch.float32) / self.vae.config.scaling_factor
        pictures = self.vae.decode(scaled + shift).sample
        if not bool(pictures.isfinite().all()):
            raise HeroError(
                "the model decodes to pictures that are not numbers", exit_code=ExitCode.FAILED
            )
        pixels = ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        decoded: np.ndarray[Any, np.dtype[np.uint8]] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return decoded

    def predict(
        self,
        latents_B_C_H_W: Tensor,
        timesteps_B: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        """The network's raw output (see `Process`) in the latents' dtype; differentiable.

        Classifier-free guidance is one call on [negative, positive] rows. A network that takes
        guidance as an input has one row a latent, and the run's scale where none is given.
        """
        rows, inputs = len(latents_B_C_H_W), latents_B_C_H_W.to(self.device, self.dtype)
        timesteps, prompt = timesteps_B.to(self.device), self.encode_prompt(conditioning.prompt)
        guidance = conditioning.guidance
        if not conditioning.guided or self.family.distilled(self.network):
            scale = self.guidance if guidance is None else guidance
            output = self._denoise(inputs, timesteps, prompt.expand(rows), scale)
            return output.to(latents_B_C_H_W.dtype)
        assert guidance is not None
        negative = self.encode_prompt(conditioning.negative_prompt)
        both = self._denoise(
            torch.cat([inputs, inputs]),
            torch.cat([timesteps, timesteps]),
            negative.expand(rows).then(prompt.expand(rows)),
            guidance,
        )
        away, towards = both.to(latents_B_C_H_W.dtype).chunk(2)
        return away + guidance * (towards - away)

    def _denoise(
        self, inputs: Tensor, timesteps: Tensor, prompts: Prompt, guidance: float
    ) -> Tensor:
        if timesteps.is_floating_point():
            timesteps = timesteps.float()
        return self.family.denoise(
            self.network,
            inputs,
            timesteps,
            prompts.hidden_N_T_D,
            prompts.pooled_N_P,
            size=self.picture_size,
            guidance=guidance,
        )

    def lora_parameters(self) -> list[nn.Parameter]:
        """The trainable weights, in a fixed order."""
        return [weight for name, weight in self.network.named_parameters() if ".lora_" in name]

    def lora_state(self) -> dict[str, Tensor]:
        """A copy of the LoRA weights on the CPU under peft's names (no adapter name in them)."""
        from peft.utils import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.network)
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
        for name, weight in self.network.named_parameters():
            if ".lora_" in name:
                yield name.replace(".default.", "."), weight

    @contextmanager
    def base(self) -> Iterator[None]:
        """The frozen model without its LoRA, for as long as the block lasts."""
        self.network.disable_adapters()
        try:
            yield
        finally:
            self.network.enable_adapters()

    @contextmanager
    def with_lora(self, state: Mapping[str, Tensor] | None) -> Iterator[None]:
        """The model with other LoRA weights, as `lora_state` gave them; None leaves its own."""
        if state is None:
            yield
            return
        own = self.lora_state()
        self.load_lora_state(state)
        try:
            yield
        finally:
            self.load_lora_state(own)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """The tuned model with its LoRA added into the weights, for as long as the block lasts.

        The same predictions up to float rounding, without the LoRA layers' own calls, for sampling.
        Weights of lower precision than float32 would round the LoRA away and stay as they are, and
        so does the bare model within `base`.
        """
        layers = list(lora_layers(self.network))
        if self.dtype != torch.float32 or any(layer.disable_adapters for layer in layers):
            yield
            return
        weights = [layer.get_base_layer().weight for layer in layers]
        bare = [weight.data for weight in weights]
        for layer, weight in zip(layers, weights, strict=True):
            weight.data = weight.data + layer.get_delta_weight(layer.active_adapters[0])
        try:
            with self.base():
                yield
        finally:
            for weight, data in zip(weights, bare, strict=True):
                weight.data = data


def vae_scale(vae: Any) -> int:
    """Pixels a latent pixel, along one side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def model_for(settings: Settings, device: str = "auto") -> Model:
    """The model of a run as it begins. HeroError, exit code 3, where it cannot be opened."""
    size = (settings.sampler.height, settings.sampler.width)
    model = open_model(
        settings.model,
        settings.lora,
        device,
        seed=settings.seed,
        size=size,
        config=settings.model_config,
        guidance=settings.sampler.guidance,
    )
    if _short_of_memory(settings.gradient_checkpointing, model.device):
        model.network.enable_gradient_checkpointing()
    return model


def _short_of_memory(said: str, device: torch.device) -> bool:
    """Whether activations are computed again: as the settings say, or by the GPU's size."""
    if said != "auto":
        return said == "on"
    if device.type != "cuda":
        return False
    return bool(torch.cuda.get_device_properties(device).total_memory < AMPLE_MEMORY)


def open_model(
    name: str,
    lora: LoraSettings,
    device: str = "auto",
    *,
    seed: int = 0,
    size: tuple[int, int] = (0, 0),
    config: str = "",
    guidance: float = 1.0,
) -> Model:
    """A model by name: "embedded", a folder with a pipeline, a hub id, or a .safetensors file.

    device: "auto" (a GPU where there is one), or any torch device. The LoRA's first weights come
    from `seed`. size: height and width of pictures in pixels, 0 for the model's own. config: the
    folder or hub id whose configuration a single file has. guidance: the scale that a run samples
    with, for networks that take it as an input. HeroError, in one line: exit code 3
    when it cannot be opened, 2 when it cannot have this size or this LoRA.
    """
    where = torch.device(_pick_device(device))
    dtype = _pick_dtype(where)
    family, pipeline = load_pipeline(name, dtype, config)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
    network = getattr(pipeline, family.network)
    network.to(where)
    pipeline.vae.to(where)
    latent_size = _latent_size(size, family, network, pipeline.vae)
    attach_lora(network, lora, seed)
    with quiet():
        model = Model(
            family,
            pipeline,
            device=where,
            dtype=dtype,
            lora=lora,
            latent_size=latent_size,
            guidance=guidance,
        )
    if max(model.picture_size) >= LARGE_PICTURE:
        model.vae.enable_slicing()
    if max(model.picture_size) >= HUGE_PICTURE:
        model.vae.enable_tiling()
    return model


def load_pipeline(name: str, dtype: torch.dtype, config: str = "") -> tuple[Family, Any]:
    """A diffusers pipeline on the CPU, and the family that knows it; the VAE in float32 always.

    Any failure of the libraries, whatever its type, becomes one line for the user.
    """
    with quiet():
        family = model_family(name, config)
        try:
            return family, _opened(family, find_model(name), dtype, config)
        except Exception as error:
            raise HeroError(
                f"cannot open model {name}: {one_line(error)}", exit_code=ExitCode.ENVIRONMENT
            ) from error


def bare_network(name: str, config: str = "") -> tuple[Family, Any]:
    """The model's network with its layers but no weights, and its family.

    HeroError, exit code 3, where its configuration cannot be read.
    """
    with quiet():
        family = model_family(name, config)
        source = configuration(find_model(name), config)
        try:
            import diffusers

            kind = getattr(diffusers, family.network_class)
            with torch.device("meta"):
                return family, kind.from_config(kind.load_config(source, subfolder=family.network))
        except Exception as error:
            raise HeroError(
                f"cannot open model {name}: {one_line(error)}", exit_code=ExitCode.ENVIRONMENT
            ) from error


def _opened(family: Family, source: str, dtype: torch.dtype, config: str) -> Any:
    import diffusers

    kind = getattr(diffusers, family.pipeline)
    if Path(source).is_file():
        pipeline = kind.from_single_file(
            source, torch_dtype=dtype, config=config or None, **family.opening
        )
        pipeline.vae.to(torch.float32)
        return pipeline
    return kind.from_pretrained(
        source,
        torch_dtype={"default": dtype, "vae": torch.float32},
        use_safetensors=True,
        local_files_only=Path(source).is_dir(),
        **family.opening,
    )


def _latent_size(
    size: tuple[int, int], family: Family, network: Any, vae: Any
) -> tuple[int, int] | None:
    """Height and width of a latent for a picture's; a 0 takes the other side's, or the model's."""
    if size == (0, 0):
        return None
    pixels = vae_scale(vae) * family.step
    height, width = size[0] or size[1], size[1] or size[0]
    if height % pixels or width % pixels:
        raise HeroError(
            f"sampler.height and sampler.width are {height} and {width}; this model makes pictures "
            f"whose sides are multiples of {pixels}"
        )
    return height // vae_scale(vae), width // vae_scale(vae)


def _pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _pick_dtype(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
