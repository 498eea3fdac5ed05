"""How far a tuned model has gone from its base, as a Kullback-Leibler divergence of the sampler.

With noise in the sampler (eta > 0) a picture is the end of a chain of Gaussian steps, whose
standard deviations do not depend on the weights. Of the chains of the tuned model and the base
    KL = E over tuned chains of the sum over steps of |mu_tuned(x_t) - mu_base(x_t)|^2 / (2 sigma^2)
in nats a picture, exact but for the mean over pictures. Both start from the same N(0, I). Steps
without noise (the last one of some schedules) have no density and are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hero_engine.config.settings import SamplerSettings
from hero_engine.core.batch import Trajectory
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import pick_training_steps, sample


@torch.no_grad()
def kl_to_base(
    model: Model, prompt: str, noises_B_C_H_W: Tensor, sampler: SamplerSettings, seed: int
) -> float | None:
    """Mean over pictures from these noises, in nats; None for a sampler without noise."""
    if sampler.eta <= 0:
        return None
    count = len(noises_B_C_H_W)
    kept = pick_training_steps(model, sampler, sampler.steps, count, seed, 0)
    batch = sample(model, prompt, noises_B_C_H_W, sampler, seed=seed, round=0, kept_steps_B_S=kept)
    assert batch.trajectory is not None
    return float(chain_kl(model, prompt, batch.trajectory, sampler).mean())


@torch.no_grad()
def chain_kl(model: Model, prompt: str, chains: Trajectory, sampler: SamplerSettings) -> Tensor:
    """The sum over kept steps of the KL between the two models' steps from x_t: (B,), float64."""
    total = torch.zeros(len(chains.timesteps_B_S), dtype=torch.float64)
    for step in range(chains.timesteps_B_S.shape[1]):
        tuned, std = _step(model, prompt, chains, step, sampler)
        with model.base():
            base, _ = _step(model, prompt, chains, step, sampler)
        gap = ((tuned - base) / std).double().square().flatten(1).sum(1) / 2
        total += gap.cpu()
    return total


def _step(
    model: Model, prompt: str, chains: Trajectory, step: int, sampler: SamplerSettings
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a kept step of every picture."""
    timesteps = chains.timesteps_B_S[:, step]
    x_t = chains.latents_B_S_C_H_W[:, step].to(model.device)
    output = model.predict(x_t, timesteps, Conditioning.of_sampler(prompt, sampler))
    previous = chains.prev_timesteps_B_S[:, step]
    return model.process.step(output, timesteps, previous, x_t, sampler.eta)
