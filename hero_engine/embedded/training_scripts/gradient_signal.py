"""The share of signal in a DDPO gradient of one round.

::

    python -m hero_engine.embedded.training_scripts.gradient_signal --images 768 --eta 1

A judge labels pictures from fresh noise. The policy gradient d/dw mean(A log p) at the base is
computed for every group of 32 pictures, for each quarter of the denoising steps and each part of
the UNet. For gradients g_i of k groups, the mean over i != j of g_i . g_j is an unbiased
estimate of |E g|^2. The script prints that over E |g|^2 of one round's 64 pictures: the squared
cosine between a round's gradient and the true one (1: no noise, 0: noise alone). ± is a jackknife
over groups.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import load_task, settings_for
from hero_engine.core.batch import Batch, Trajectory
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.evaluate import EVALUATION_SEED
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline import Model
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import (
    KeptSteps,
    SampleRequest,
    pick_training_steps,
    sample_batches,
)
from hero_engine.reward.rewards import advantages
from hero_engine.updates.denoising_policy import DenoisingPolicy

GROUP = 32
ROUND = 64
WINDOWS = 4
PARTS = ("", "down_blocks", "mid_block", "up_blocks")
"""Of the UNet; the first is all of it."""


def pictures(model: Model, settings: Settings, count: int) -> Batch:
    """Pictures from fresh noise with every denoising step that has noise."""
    noises = FRESH.draw(count, model.latent_shape, settings.noise, EVALUATION_SEED, 2)
    sampler = settings.sampler
    images, all_steps = range(count), KeptSteps(sampler.steps)
    kept = pick_training_steps(model, sampler, all_steps, images, EVALUATION_SEED, 2)
    request = SampleRequest(EVALUATION_SEED, 2, images, noises, kept)
    return Batch.cat(sample_batches(model, settings.prompt, sampler, request, GROUP))


def gradients(
    model: Model, policy: DenoisingPolicy, trajectory: Trajectory, advantages_B: Tensor
) -> list[Tensor]:
    """The gradient by window of steps, for these pictures: WINDOWS vectors of all LoRA weights."""
    found, weights = [], model.lora_parameters()
    for steps in torch.arange(trajectory.timesteps_B_S.shape[1]).tensor_split(WINDOWS):
        part = Trajectory(**{name: each[:, steps] for name, each in trajectory.tensors().items()})
        log_probs = policy.log_probs(part)
        goal = (advantages_B[:, None] * log_probs).mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(goal, weights)]))
    return found


def columns_of(model: Model, part: str) -> Tensor:
    """Which columns of the gradients belong to a part of the UNet: (P,) bool."""
    named = [(name, w) for name, w in model.network.named_parameters() if ".lora_" in name]
    return torch.cat([torch.full((w.numel(),), part in name) for name, w in named])


def signal_share(gradients_K_P: Tensor) -> tuple[float, float]:
    """Squared cosine of a round's gradient with the true one, and its jackknife error."""
    gram = (gradients_K_P @ gradients_K_P.T).double()
    shares = torch.tensor([_share(_without(gram, k)) for k in range(len(gram))])
    spread = shares.var(correction=0) * (len(gram) - 1)
    return _share(gram), float(spread.sqrt())


def _without(gram_K_K: Tensor, k: int) -> Tensor:
    rest = torch.arange(len(gram_K_K)) != k
    return gram_K_K[rest][:, rest]


def _share(gram_K_K: Tensor) -> float:
    k, power = len(gram_K_K), gram_K_K.diagonal().mean()
    signal = (gram_K_K.sum() - gram_K_K.diagonal().sum()) / (k * (k - 1))
    return float(signal / (signal + (power - signal) * GROUP / ROUND))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--task", default="hands")
    parser.add_argument("--eta", type=float, default=0.5)
    args = parser.parse_args()
    settings = settings_for(load_task(args.task), "embedded")
    settings = replace(settings, sampler=replace(settings.sampler, eta=args.eta))
    model = open_model(settings.model, settings.lora, seed=0)
    batch = pictures(model, settings, args.images)
    seen = model.decode(batch.latents_B_C_H_W)
    good = torch.from_numpy(Judge.open("labeller").success(args.task, seen)).float()
    print(f"{args.task}: {good.mean():.3f} of {args.images} good at eta {args.eta}")
    assert batch.trajectory is not None
    policy, rewards = DenoisingPolicy(model, settings.sampler, settings.prompt), advantages(good)
    found = [
        gradients(model, policy, batch.trajectory.rows(rows), rewards[rows])
        for rows in torch.split(torch.arange(args.images), GROUP)
    ]
    by_window = torch.stack([torch.stack(group) for group in found], dim=1)
    quarters = "".join(f"{f'quarter {each}':>18}" for each in range(1, WINDOWS + 1))
    print(f"{'':<12}{quarters}{'all steps':>18}")
    for part in PARTS:
        of_part = by_window[:, :, columns_of(model, part)]
        shares = [signal_share(each) for each in (*of_part, of_part.sum(0))]
        row = "".join(f"{share:>+10.3f} ± {error:.3f}" for share, error in shares)
        print(f"{part or 'whole UNet':<12}{row}")


if __name__ == "__main__":
    main()
