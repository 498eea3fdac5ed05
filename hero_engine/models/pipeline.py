"""A diffusers pipeline as the engine uses it: frozen, with trainable LoRA weights in its network.

Everything the engine needs of a model is in `Model`. Opening one is `open_model.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hero_engine.config.prompts import Size
from hero_engine.config.settings import LoraSettings
from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.diffusion_process import Process
from hero_engine.models.float32_pass import computing_in_float32, is_quantised
from hero_engine.models.latent_layout import LatentLayout
from hero_engine.models.lora import lora_layers
from hero_engine.models.noise_schedules import NoiseSchedule
from hero_engine.models.pipeline_arguments import PipelineArguments
from hero_engine.models.pipeline_driver import NetworkCall, PipelineDriver
from hero_engine.storage.foreign_pictures import opened


class Model:
    """A frozen latent diffusion model with trainable LoRA weights in its network.

    network, vae: diffusers' own, in eval mode throughout. process: what predictions mean.
    dtype: the network's; LoRA weights, latents and the VAE are float32 always.
    latent_shape: (channels, height, width) of a latent. picture_size: (height, width) in pixels.
    notices: notices about how the model was opened. fingerprints: of each component
    (`model_record`). pictures: those to change, by their paths.
    """

    def __init__(
        self,
        driver: PipelineDriver,
        arguments: PipelineArguments,
        noise: NoiseSchedule,
        *,
        dtype: torch.dtype,
        lora: LoraSettings,
        prompt: str = "",
    ) -> None:
        self.any_prompt = Conditioning(prompt)
        self.driver = driver
        self.network, self.vae = driver.network, driver.pipeline.vae
        self.device, self.dtype, self.lora = driver.device, dtype, lora
        self.notices: tuple[str, ...] = ()
        self.fingerprints: dict[str, str] = {}
        self.noise, self._first = noise, self
        self._views: dict[tuple[Size | None, str], Model] = {}
        self.pictures: dict[str, Any] = {}
        self._fit(arguments)

    def _fit(self, arguments: PipelineArguments) -> None:
        """Draw pictures of these arguments' size."""
        self.arguments = arguments
        self.layout, self.picture_size = self._read_layout()
        self.latent_shape = self.layout.shape
        self.process: Process = self.process_of(self.noise, arguments)

    def drawing(self, conditioning: Conditioning) -> Model:
        """This model, for images of the conditioning's size and input picture.

        It shares everything else. HeroError, exit code 2, for a size that the pipeline refuses.
        """
        key, first = (conditioning.size, conditioning.image), self._first
        if key == (None, ""):
            return first
        if key not in self._views:
            arguments, view = first.arguments, copy(first)
            if conditioning.size is not None:
                arguments = arguments.sized(*reversed(conditioning.size))
            if path := conditioning.image:
                picture = first.pictures.setdefault(path, opened(Path(path)))
                arguments = arguments.editing(picture)
            view._fit(arguments)
            self._views[key] = view
        return self._views[key]

    def _read_layout(self) -> tuple[LatentLayout, tuple[int, int]]:
        """HeroError, exit code 2, for a picture's size that the pipeline refuses or rounds."""
        wanted = (self.arguments.height, self.arguments.width)
        try:
            with self.driver.checking(wanted != (0, 0)):
                seen = self.driver.prepare(self.arguments.of(self.any_prompt))
            if wanted not in ((0, 0), (seen.height, seen.width)):
                raise ValueError(f"it would draw {seen.width}x{seen.height}")
            return self.driver.layout(), (seen.height, seen.width)
        except ValueError as error:
            if wanted == (0, 0):
                raise
            raise HeroError(
                f"this model cannot draw {wanted[1]}x{wanted[0]} pixels: {one_line(error)}"
            ) from error

    def process_of(self, noise: NoiseSchedule, arguments: PipelineArguments) -> Process:
        """What predictions mean, for pictures of these arguments' size."""
        from hero_engine.models.ddim import Diffusion
        from hero_engine.models.flow import Flow

        if not noise.flow:
            return Diffusion(noise.scheduler)

        def schedule(count: int) -> tuple[Tensor, Tensor]:
            seen = self.driver.prepare(arguments.of(self.any_prompt, steps=count))
            assert seen.timesteps is not None and seen.sigmas is not None
            return seen.timesteps.cpu(), seen.sigmas.cpu()

        return Flow(schedule, int(noise.scheduler.config.num_train_timesteps))

    def encode(self, conditionings: Iterable[Conditioning]) -> None:
        """Encode prompts now, so that the text encoders are not needed later."""
        for each in conditionings:
            self.drawing(each).prepare(each)

    def prepare(self, conditioning: Conditioning) -> None:
        """Encode a prompt of this size and input picture."""
        self.driver.prepare(self.arguments.of(conditioning))

    @torch.no_grad()
    def decode(self, latents_B_C_H_W: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Pictures as uint8, (B, height, width, 3). HeroError, exit code 1, for NaN in them."""
        x = self.layout.pack(latents_B_C_H_W.to(self.device, torch.float32))
        with all_finite(self.vae) as finite:
            pictures = self.driver.decode(x, self.arguments.of(self.any_prompt))
        if not all(finite):
            raise HeroError(
                "the model's VAE decodes to NaN: check its files, or use another VAE",
                exit_code=ExitCode.FAILED,
            )
        pixels = (pictures.float() * 255).round().to(torch.uint8)
        decoded: np.ndarray[Any, np.dtype[np.uint8]] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return decoded

    def predict(
        self, latents_B_C_H_W: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        """What the pipeline predicts (see `Process`), guidance included, in the latents' dtype.

        Differentiable. A network that takes guidance as an input gets the run's scale where the
        conditioning has none.
        """
        x = self.layout.pack(latents_B_C_H_W.to(self.device))
        times = timesteps_B.float() if timesteps_B.is_floating_point() else timesteps_B
        output = self.driver.predict(
            x,
            times,
            self.arguments.of(conditioning),
            guided=self.arguments.guided(conditioning),
        )
        return self.layout.unpack(output).to(latents_B_C_H_W.dtype)

    def network_call(
        self, latents_B_C_H_W: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> NetworkCall:
        """The pipeline's call of its network for a prediction, to be made again and again."""
        with self.driver.listening() as calls, torch.no_grad():
            self.predict(latents_B_C_H_W, timesteps_B, conditioning)
        return calls[-1]

    def lora_parameters(self) -> list[nn.Parameter]:
        """The trainable weights, in a fixed order."""
        return [weight for name, weight in self.network.named_parameters() if ".lora_" in name]

    def lora_state(self) -> dict[str, Tensor]:
        """A copy of the LoRA weights on the CPU under peft's names (no adapter name in them)."""
        from peft.utils import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.network)
        return {name: weight.detach().cpu().clone() for name, weight in state.items()}

    def load_lora_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `lora_state` gave. ValueError if names or shapes differ."""
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
        layers = list(lora_layers(self.network))
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

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

    def place(self, device: torch.device, *, offloaded: bool) -> None:
        """Put the network on the device; of an offloaded one, its LoRA weights alone."""
        if not offloaded:
            self.network.to(device)
            return
        for weight in self.lora_parameters():
            weight.data = weight.data.to(device)

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Predictions computed in float32, for as long as the block lasts; without gradients.

        The weights are those of the network's own precision.
        """
        self.driver.in_float32 = True
        try:
            with computing_in_float32(self.network):
                yield
        finally:
            self.driver.in_float32 = False

    @contextmanager
    def merged(self) -> Iterator[None]:
        """The tuned model with its LoRA added into the weights, for as long as the block lasts.

        The same predictions up to float rounding, without the LoRA layers' own calls, for sampling.
        Weights of lower precision than float32 would round the LoRA away and stay as they are, and
        so do quantised ones, and the bare model within `base`.
        """
        layers = list(lora_layers(self.network))
        if (
            self.dtype != torch.float32
            or any(layer.disable_adapters for layer in layers)
            or any(is_quantised(layer.get_base_layer()) for layer in layers)
        ):
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

    def feature_layers(self) -> list[Any]:
        """The layers whose activations say most about a picture: the network's middle ones."""
        network = self.network
        if hasattr(network, "mid_block"):
            return [network.mid_block, network.up_blocks[0]]
        lists = [each for each in network.children() if isinstance(each, nn.ModuleList)]
        blocks: Any = getattr(network, "transformer_blocks", None) or max(lists, key=len)
        return [blocks[len(blocks) // 2]]


@contextmanager
def all_finite(vae: Any) -> Iterator[list[bool]]:
    """Whether each decoding is finite; the pipeline then cuts infinity to a colour."""
    decode, finite = vae.decode, list[bool]()

    def checked(*args: Any, **kwargs: Any) -> Any:
        made = decode(*args, **kwargs)
        finite.append(bool(made[0].isfinite().all()))
        return made

    vae.decode = checked
    try:
        yield finite
    finally:
        vae.decode = decode
