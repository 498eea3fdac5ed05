"""KL divergence of the fine-tuned sampler from its base.

With eta > 0 the sampler is a chain of Gaussian steps whose standard deviations do not depend on
the weights. For chains of the fine-tuned model
    KL = E[ sum over steps of |mu_tuned(x_t) - mu_base(x_t)|^2 / (2 sigma_t^2) ]
in nats a picture. The sum is exact; the expectation is a mean over pictures. Both chains start
from N(0, I). Steps without noise (the last of some schedules) have no density and are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hero_engine.config.settings import SamplerSettings
from hero_engine.core.batch import Trajectory
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps, SampleRequest, pick_training_steps, sample


@torch.no_grad()
def kl_to_base(
    model: Model, prompt: str, noises_B_C_H_W: Tensor, sampler: SamplerSettings, seed: int
) -> float | None:
    """Mean KL over pictures from these noises, in nats; None for a sampler without noise."""
    if sampler.eta <= 0:
        return None
    images = range(len(noises_B_C_H_W))
    kept = pick_training_steps(model, sampler, KeptSteps(sampler.steps), images, seed, 0)
    request = SampleRequest(seed, 0, images, noises_B_C_H_W, kept)
    batch = sample(model, prompt, sampler, request)
    assert batch.trajectory is not None
    return float(chain_kl(model, prompt, batch.trajectory, sampler).mean())


@torch.no_grad()
def chain_kl(model: Model, prompt: str, chains: Trajectory, sampler: SamplerSettings) -> Tensor:
    """KL of each chain, summed over the kept steps: (B,) float64, in nats."""
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
    """Mean and standard deviation of one kept step, for every picture."""
    timesteps = chains.timesteps_B_S[:, step]
    x_t = chains.latents_B_S_C_H_W[:, step].to(model.device)
    output = model.predict(x_t, timesteps, Conditioning.of_sampler(prompt, sampler))
    previous = chains.prev_timesteps_B_S[:, step]
    return model.process.step(output, timesteps, previous, x_t, sampler.eta)
