"""Configurations with random weights open, pass the self-test, and predict finite numbers."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from hero_engine.config.settings import LoraSettings, SamplerSettings
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.models import pipeline_loading as loading
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.known_configurations import known_configuration
from hero_engine.models.open_model import open_model

NARROW: dict[str, dict[str, Any]] = {
    "config:sd15": {"block_out_channels": [32, 32, 32, 32]},
    "config:sd3.5-medium": {
        "num_layers": 2,
        "num_attention_heads": 2,
        "caption_projection_dim": 128,
        "dual_attention_layers": [0],
    },
    "config:flux.1-dev": {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2},
    "config:z-image": {
        "n_layers": 1,
        "n_refiner_layers": 1,
        "dim": 256,
        "n_heads": 2,
        "n_kv_heads": 2,
    },
    "config:flux.2-klein": {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2},
}
"""What makes each network small; all else is the true configuration."""


@pytest.mark.parametrize("name", NARROW)
def test_a_configuration_opens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_configuration(name)
    library, kind, config = known.components[known.network]
    parts = dict(known.components) | {known.network: (library, kind, config | NARROW[name])}
    vae_library, vae_kind, vae = known.components["vae"]
    parts["vae"] = (vae_library, vae_kind, {**vae, "block_out_channels": [32] * 4})
    narrow = replace(known, components=parts)
    monkeypatch.setattr(loading, "known_configuration", lambda _: narrow)
    sampler = SamplerSettings(height=128, width=128, guidance=4.0)
    model = open_model(name, LoraSettings(), "cpu", sampler=sampler, prompts="a hand")
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    times = model.process.timesteps_at(torch.tensor([0.3, 0.8]))
    output = model.predict(x, times, Conditioning.of_sampler("a hand", sampler))
    output.square().mean().backward()  # type: ignore[no-untyped-call]
    assert bool(output.isfinite().all()) and float(output.detach().std()) > 0
    assert any(
        bool(weight.grad.any()) for weight in model.lora_parameters() if weight.grad is not None
    )
    assert any("random weights" in notice for notice in model.notices)
    assert model.decode(x).shape[1:3] == (128, 128)


def test_an_unknown_configuration_is_refused_with_those_that_exist() -> None:
    with pytest.raises(HeroError, match="config:sd15") as error:
        loading.load_pipeline("config:sd16", torch.float32)
    assert error.value.exit_code == ExitCode.ENVIRONMENT
