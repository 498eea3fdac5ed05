"""What a family of models must say of itself; `Model` asks for nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from hero_engine.models.diffusion_process import Process

Size = tuple[int, int]
"""Height and width."""


class Family(ABC):
    """A kind of latent diffusion model. Stateless: what it needs of a pipeline it is given.

    title: for a person. pipeline: its class in diffusers. network: the attribute of the pipeline
    that denoises and gets the LoRA, and its class. opening: extra arguments of `from_pretrained`.
    settings: what its models want other than preset `paper` (which is Stable Diffusion's). step:
    latent sides are multiples of it.
    """

    title: ClassVar[str]
    pipeline: ClassVar[str]
    network: ClassVar[str] = "unet"
    network_class: ClassVar[str] = "UNet2DConditionModel"
    opening: ClassVar[Mapping[str, Any]] = {}
    settings: ClassVar[Mapping[str, Any]] = {}
    step: ClassVar[int] = 1

    @abstractmethod
    def encode(self, pipeline: Any, text: str, device: Any) -> tuple[Tensor, Tensor | None]:
        """Hidden states (1, T, D), and a pooled vector (1, P) where the network wants one."""

    @abstractmethod
    def denoise(
        self,
        network: Any,
        x_t: Tensor,
        timesteps_B: Tensor,
        hidden_B_T_D: Tensor,
        pooled_B_P: Tensor | None,
        *,
        size: Size,
        guidance: float,
    ) -> Tensor:
        """The network's raw output, shaped as x_t (B, C, H, W). size: the picture's, in pixels.

        guidance: only for a network that was distilled with it (`distilled`).
        """

    @abstractmethod
    def process(self, pipeline: Any, latent_size: Size) -> Process:
        """What its predictions mean, on the pipeline's own schedule."""

    def channels(self, network: Any) -> int:
        """Of a latent."""
        return int(network.config.in_channels)

    def latent_size(self, network: Any) -> Size:
        """A latent's height and width unless the settings say otherwise."""
        size = network.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    def feature_layers(self, network: Any) -> list[Any]:
        """The layers whose activations tell most of a picture: the middle one and the next."""
        return [network.mid_block, network.up_blocks[0]]

    def distilled(self, network: Any) -> bool:
        """Whether guidance is an input of the network, in place of a second call."""
        return False

    def kohya_name(self, layer: str) -> str:
        """What A1111 and ComfyUI call a layer's LoRA; empty where no such name is documented."""
        return ""
