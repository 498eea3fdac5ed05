"""From pictures to final latents: the inverse of `Model.decode`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hero_engine.core.errors import ExitCode, HeroError, is_memory_short, one_line
from hero_engine.models.pipeline import Model

DIFFERENT = 2.0
"""Largest mean difference, in grey levels, between the pipeline's decoding and the VAE's own."""


@torch.no_grad()
def encode_pictures(model: Model, pixels_B_H_W_3: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """Final latents of pictures of the model's size, (B, C, H, W) on the CPU.

    The mean of the VAE's posterior, scaled as the pipeline scales latents. HeroError, exit code 3,
    for a VAE whose scale is not the one in its configuration.
    """
    x = torch.from_numpy(pixels_B_H_W_3.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    try:
        weight = next(model.vae.parameters())
        mean = model.vae.encode(x.to(weight.device, weight.dtype)).latent_dist.mode()
        scales = _scales(model.vae.config)
        if tuple(mean.shape[1:]) != model.latent_shape:
            raise ValueError(f"its latents are {tuple(mean.shape[1:])}")
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:
        if is_memory_short(error):
            raise
        raise _refused(one_line(error)) from error
    for shift, scale in scales:
        latents: Tensor = ((mean - shift) * scale).float()
        if _is_scaled_so(model, mean[:1], latents[:1]):
            return latents.cpu()
    raise _refused("the pipeline scales latents in its own way")


def _scales(config: Any) -> list[tuple[float, float]]:
    """The shifts and factors that a pipeline may use: some ignore the shift."""
    scale = float(config.scaling_factor)
    shift = getattr(config, "shift_factor", None) or 0.0
    return [(shift, scale), (0.0, scale)] if shift else [(0.0, scale)]


def _is_scaled_so(model: Model, mean: Tensor, latents: Tensor) -> bool:
    """Whether the pipeline decodes these latents to what its VAE makes of the mean."""
    own = model.vae.decode(mean).sample.float() / 2 + 0.5
    pixels = own.clamp(0, 1).permute(0, 2, 3, 1).cpu() * 255
    ours = torch.from_numpy(model.decode(latents)).float()
    return bool(own.isfinite().all()) and float((pixels - ours).abs().mean()) <= DIFFERENT


def _refused(reason: str) -> HeroError:
    return HeroError(
        f"pictures cannot be imported for this model: {reason}", exit_code=ExitCode.ENVIRONMENT
    )
