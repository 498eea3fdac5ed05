"""A representation that is not learned: activations of the frozen network on a final latent.

A denoiser has to recognise what a slightly noised image shows, and its middle layers encode it
(Baranchuk et al. 2022, "Label-efficient semantic segmentation with diffusion models"). So a head on
its activations needs far fewer labels than a network learned from scratch: docs/results.md has the
comparison. The LoRA is switched off, so features keep their meaning throughout a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hero_engine.core.batch import distinct, first_group
from hero_engine.core.padding import cut
from hero_engine.core.rng import generator
from hero_engine.models.grouped_conditioning import GroupedConditioning, Prompts

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

LEVELS = (0.04, 0.12)
"""Noise levels, as shares of the schedule, over which features are averaged: nearly clean."""


class BackboneFeatures:
    """Latents (B, C, H, W) to features (B, F), float32 on the CPU.

    Mean and maximum over all places of what the model's `feature_layers` give out, with each
    picture's prompt. All pictures get the same noise, which is the seed's.
    """

    def __init__(self, model: Model, prompts: Prompts, microbatch: int, seed: int) -> None:
        self.model, self.microbatch, self.seed = model, microbatch, seed
        self.conditioning = GroupedConditioning.plain(prompts)
        self._cache: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def __call__(self, latents_B_C_H_W: Tensor, group_B: Tensor | None = None) -> Tensor:
        """Features of any number of latents. group_B: the number of each one's prompt; None: 0."""
        groups = first_group(len(latents_B_C_H_W)) if group_B is None else group_B
        places, features = list[Tensor](), list[Tensor]()
        for group in distinct(groups):
            own = (groups == group).nonzero().flatten()
            for rows in torch.split(own, self.microbatch):
                places.append(rows)
                features.append(self._averaged(latents_B_C_H_W[rows], group))
        return torch.cat(features)[torch.cat(places).argsort()]

    def cached(self, latents_B_C_H_W: Tensor, group_B: Tensor | None = None) -> Tensor:
        """Features of pictures that later rounds use again: they are cached."""
        names = [sha256(latent.numpy().tobytes()).digest() for latent in latents_B_C_H_W.cpu()]
        new = [at for at, name in enumerate(names) if name not in self._cache]
        if new:
            features = self(latents_B_C_H_W[new], None if group_B is None else group_B[new])
            self._cache |= {names[at]: each for at, each in zip(new, features, strict=True)}
        return torch.stack([self._cache[name] for name in names])

    def _averaged(self, clean_B_C_H_W: Tensor, group: int) -> Tensor:
        sums = [self._at(clean_B_C_H_W, group, number) for number in range(len(LEVELS))]
        return torch.stack(sums).mean(0)

    def _at(self, clean_B_C_H_W: Tensor, group: int, number: int) -> Tensor:
        """Features at one noise level."""
        model, rows = self.conditioning.model(self.model, group), len(clean_B_C_H_W)
        random = generator(self.seed, "features", 0, number)
        noise = torch.randn(model.latent_shape, generator=random).expand(rows, -1, -1, -1)
        timesteps = model.process.timesteps_at(torch.full((rows,), LEVELS[number]))
        clean = cut(clean_B_C_H_W, model.latent_shape).to(model.device)
        x_t = model.process.noised(clean, noise.to(clean), timesteps)
        layers = model.feature_layers()
        with _captured(layers) as outputs, model.base():
            model.predict(x_t, timesteps, self.conditioning.of_group[group])
        return torch.cat([_pooled(output) for output in outputs], 1).float().cpu()


@contextmanager
def _captured(layers: list[Any]) -> Iterator[list[Tensor]]:
    """Outputs of the layers, in the order of their calls."""
    outputs: list[Tensor] = []

    def capture(layer: Any, given: Any, output: Any) -> None:
        # Blocks of transformers give a pair: the text's states, then the picture's.
        outputs.append(output[-1] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(capture) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _pooled(output: Tensor) -> Tensor:
    """(B, C, H, W) or tokens (B, T, C) to mean and maximum over places: (B, 2 C)."""
    channels_first = output.flatten(2) if output.ndim > 3 else output.transpose(1, 2)
    return torch.cat([channels_first.mean(2), channels_first.amax(2)], 1)
