"""The input picture of an editing pipeline: encoded once, in the precision of the VAE."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def hook_input_pictures(hooked: Any, base: Any) -> None:
    """Add the hooks to a driven pipeline's class, where the pipeline has what they replace."""
    if hasattr(base, "_encode_vae_image"):
        hooked._encode_vae_image = _in_precision_of_vae(base._encode_vae_image)
    if hasattr(base, "prepare_image_latents"):
        hooked.prepare_image_latents = _remembered(base.prepare_image_latents)


def _in_precision_of_vae(encode: Any) -> Any:
    """hero keeps the VAE in float32; the pipeline gives it the network's precision."""

    @wraps(encode)
    def encode_vae_image(self: Any, image: Tensor, generator: Any) -> Tensor:
        latents: Tensor = encode(self, image.to(self.vae.dtype), generator)
        return latents.to(image.dtype)

    return encode_vae_image


def _remembered(encode: Any) -> Any:
    """The pipeline encodes its input picture in every call; here it stays the same."""
    signature = inspect.signature(encode)

    @wraps(encode)
    def prepare_image_latents(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **kwargs).arguments
        unlike = ("self", "images", "generator")
        named = {name: value for name, value in given.items() if name not in unlike}
        key = repr((named, self.driver.input_picture))
        known = self.driver.input_latents
        if key not in known:
            with torch.no_grad():
                known[key] = encode(self, *args, **kwargs)
        return known[key]

    return prepare_image_latents
