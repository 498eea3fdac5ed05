"""The KL between samplers, against a closed form and against an estimate by likelihoods."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hero_engine.config.settings import SamplerSettings
from hero_engine.evaluation.divergence import chain_kl, kl_to_base
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import (
    KeptSteps,
    SampleRequest,
    log_prob,
    pick_training_steps,
    sample,
)

SAMPLER = SamplerSettings(steps=5, eta=0.8, guidance=1.0)


def noises(count: int, *shape: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(count, *shape, generator=random, dtype=torch.float64)


def test_closed_form(line_model: Callable[..., Any]) -> None:
    """A prediction that is off by b everywhere moves every step's mean by b times a constant."""
    offset, model = 0.3, line_model(0.0, 0.3)
    timesteps, previous = model.process.steps(5)
    stds = model.process.std(timesteps, previous, 0.8).tolist()
    alphas, want = model.scheduler.alphas_cumprod.double(), 0.0
    for t, before, std in zip(timesteps.tolist(), previous.tolist(), stds, strict=True):
        if std < 1e-6:
            continue
        a, b = float(alphas[t]), float(alphas[before])
        moved = offset * (math.sqrt(1 - b - std**2) - math.sqrt(b * (1 - a) / a))
        want += 6 * moved**2 / (2 * std**2)
    got = kl_to_base(model, "a", noises(3, 2, 1, 3), SAMPLER, 0)
    assert got == pytest.approx(want, rel=1e-6) and want > 1


def test_untouched_weights_are_the_base(square: Model) -> None:
    assert kl_to_base(square, "a", noises(2, *square.latent_shape).float(), SAMPLER, 0) == 0
    assert kl_to_base(square, "a", noises(1, 4, 8, 8), SamplerSettings(eta=0), 0) is None


def test_is_the_mean_of_log_likelihood_ratios(bell_model: Any) -> None:
    """KL = E[log p_tuned - log p_base] over tuned chains; one element, so means are sums."""
    with torch.no_grad():
        bell_model.offset.fill_(0.2)
    count = 4000
    kept = pick_training_steps(bell_model, SAMPLER, KeptSteps(5), range(count), 0, 0)
    drawn = noises(count, 1, 1, 1)
    batch = sample(bell_model, "a", SAMPLER, SampleRequest(0, 0, range(count), drawn, kept))
    chains, ratios = batch.trajectory, torch.zeros(count, dtype=torch.float64)
    assert chains is not None
    with bell_model.base(), torch.no_grad():
        for step in range(chains.timesteps_B_S.shape[1]):
            t, before = chains.timesteps_B_S[:, step], chains.prev_timesteps_B_S[:, step]
            x_t = chains.latents_B_S_C_H_W[:, step]
            mean, std = bell_model.process.step(
                bell_model.predicted(x_t, t), t, before, x_t, SAMPLER.eta
            )
            base = log_prob(chains.next_latents_B_S_C_H_W[:, step], mean, std)
            ratios += chains.log_probs_B_S[:, step] - base
    got = float(chain_kl(bell_model, "a", chains, SAMPLER).mean())
    spread = float(ratios.std()) / math.sqrt(count)
    assert got == pytest.approx(float(ratios.mean()), abs=4 * spread) and got > 5 * spread
