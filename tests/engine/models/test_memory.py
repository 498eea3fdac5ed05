"""Gradient checkpointing changes no gradient and keeps less; the arithmetic of what is kept."""

from dataclasses import replace

import pytest
import torch
from tiny_pipelines import VARIED, Folders
from tiny_runs import tiny_settings
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.memory_estimate import kept_for_backward
from hero_engine.models.open_model import model_for
from hero_engine.models.pipeline import Model


def gradients(model: Model, x: Tensor) -> list[Tensor]:
    prompt, t = Conditioning("a hand"), torch.full((len(x),), 500)
    model.predict(x, t, prompt).square().mean().backward()  # type: ignore[no-untyped-call]
    found = [weight.grad for weight in model.lora_parameters() if weight.grad is not None]
    assert len(found) == len(model.lora_parameters())
    return found


@pytest.mark.parametrize("name", VARIED)
def test_checkpointing_changes_no_gradient(folders: Folders, name: str) -> None:
    settings = tiny_settings(
        folders(name),
        lora=LoraSettings(rank=2, targets=("to_q", "to_out.0")),
        sampler=SamplerSettings(height=16, width=16),
    )
    found: dict[str, list[Tensor]] = {}
    kept: dict[str, int] = {}
    for said in ("off", "on"):
        model = model_for(replace(settings, gradient_checkpointing=said), "cpu")
        random = torch.Generator().manual_seed(1)
        x = torch.randn(2, *model.latent_shape, generator=random)
        for weight in model.lora_parameters():
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(2))
        sizes: list[int] = []

        def note(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with saved_tensors_hooks(note, lambda tensor: tensor):
            found[said] = gradients(model, x)
        kept[said] = sum(sizes)
    for plain, again in zip(found["off"], found["on"], strict=True):
        assert torch.allclose(plain, again, rtol=1e-5, atol=1e-8)
    assert max(float(each.abs().max()) for each in found["off"]) > 0
    assert kept["on"] < kept["off"] / 2


def test_what_is_kept_by_hand() -> None:
    """Two checkpointed layers of 8 by 8 on 3 rows: each keeps the input of its squaring."""

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
            self.through = lambda module, x: module(x)

        def enable_gradient_checkpointing(self, through: object) -> None:
            self.through = through  # type: ignore[assignment]

        def disable_gradient_checkpointing(self) -> None:
            self.through = lambda module, x: module(x)

        def forward(self, x: Tensor) -> Tensor:
            for layer in (self.first, self.second):
                x = self.through(lambda y, layer=layer: layer(y).pow(2), x)
            return x.exp()

    network, x, row = Twice(), torch.ones(3, 8), 3 * 8 * 4
    kept = kept_for_backward(network, lambda: network(x))
    # Linear keeps its input, pow its own, exp its output; a block's output is the next one's input.
    assert kept.plain == 5 * row
    assert (kept.inputs, kept.outside, kept.largest) == (2 * row, row, 2 * row)
    assert kept.checkpointed == 5 * row
