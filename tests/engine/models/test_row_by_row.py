"""The smallest piece of an update is one row of the network: the same gradients."""

import pytest
import torch
from tiny_pipelines import VARIED, Folders

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.open_model import open_model
from hero_engine.models.row_by_row import train_row_by_row


@pytest.mark.parametrize("name", VARIED)
def test_one_row_at_a_time_has_the_same_gradients(folders: Folders, name: str) -> None:
    """Two pictures at two timesteps with guidance: up to four rows of one call."""
    sampler = SamplerSettings(height=16, width=16, guidance=4.0)
    model = open_model(str(folders(name)), LoraSettings(), "cpu", sampler=sampler, prompts="a")
    for weight in model.lora_parameters():
        torch.nn.init.normal_(weight, 0, 0.1, generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    times, rows = model.process.timesteps_at(torch.tensor([0.3, 0.8])), list[int]()
    found = []
    for split in (False, True):
        if split:
            train_row_by_row(model.network)
            forward = model.network.forward
            first = next(iter(model.network.children()))
            first.register_forward_pre_hook(lambda layer, inputs: rows.append(len(inputs[0])))
        output = model.predict(x, times, Conditioning("a", "b", 4.0))
        output.square().mean().backward()  # type: ignore[no-untyped-call]
        found.append([weight.grad for weight in model.lora_parameters()])
        model.network.zero_grad()
    assert forward is model.network.forward
    whole, each = (torch.cat([g.flatten() for g in some if g is not None]) for some in found)
    assert float(whole.norm()) > 1e-4
    assert float((whole - each).norm() / whole.norm()) < 1e-4
