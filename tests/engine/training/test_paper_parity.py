"""Preset "paper" against the official code's arithmetic, written again in plain Python.

Two rounds of its update on a model of two weights, whose gradient is a closed form; and numbers of
Stable Diffusion 1.5's schedule that were computed once, in numpy, and may not drift.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from students import ddpo, feedback_on

from hero_engine.config.presets import paper
from hero_engine.core.batch import Batch
from hero_engine.policy.noise_prior import NoisePrior
from hero_engine.policy.sampler import KeptSteps, SampleRequest, pick_training_steps, sample
from hero_engine.reward.embedding import triplet_loss
from hero_engine.reward.rewards import advantages, positives_reward

SETTINGS = paper()
IMAGES = SETTINGS.ddpo.images_per_update
LEARNING_RATE, WEIGHT_DECAY, EPSILON, MOST_NORM = 1e-3, 1e-4, 1e-8, 1.0
CLIP, MOST_ADVANTAGE, STEPS = 1e-4, 5.0, 50

SCHEDULE = {
    # timestep: cumulative alpha, and the standard deviation of the step from it (eta 1, 50 steps)
    981: (0.0057755, 0.454463272),
    501: (0.274999067, 0.29478454),
    21: (0.980380748, 0.039479546),
}


def alphas() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Cumulative alphas of "scaled linear" from 0.00085 to 0.012."""
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    return np.cumprod(1 - betas)


def step_of(timestep: int) -> tuple[float, float, float]:
    """DDIM with eta 1: the next mean is `x * scale + noise * weight`; and its deviation."""
    a = float(alphas()[timestep])
    before = timestep - 1000 // STEPS
    a_prev = float(alphas()[before if before >= 0 else 0])
    std = math.sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev))
    scale = math.sqrt(a_prev / a)
    return scale, math.sqrt(1 - a_prev - std**2) - scale * math.sqrt(1 - a), std


def test_the_schedule_is_stable_diffusions() -> None:
    for timestep, (alpha, std) in SCHEDULE.items():
        assert float(alphas()[timestep]) == pytest.approx(alpha, abs=1e-8)
        assert step_of(timestep)[2] == pytest.approx(std, abs=1e-8)


class PlainPolicy:
    """Noise predicted as slope * x + offset; DDPO's update and AdamW by hand."""

    def __init__(self, slope: float, offset: float) -> None:
        self.weights = [slope, offset]
        self.first, self.second, self.step = [0.0, 0.0], [0.0, 0.0], 0

    def learn(self, batch: Batch, rewards: list[float]) -> float:
        """One optimizer step on all pictures; returns the share of ratios beyond the clip."""
        mean, std = float(np.mean(rewards)), float(np.std(rewards))
        clipped, total = 0, [0.0, 0.0]
        path = batch.trajectory
        assert path is not None
        images, steps = path.timesteps_B_S.shape
        for i in range(images):
            advantage = (rewards[i] - mean) / (std + EPSILON)
            advantage = min(max(advantage, -MOST_ADVANTAGE), MOST_ADVANTAGE)
            for s in range(steps):
                x = path.latents_B_S_C_H_W[i, s].flatten().tolist()
                y = path.next_latents_B_S_C_H_W[i, s].flatten().tolist()
                log_prob, slopes = self._row(int(path.timesteps_B_S[i, s]), x, y)
                ratio = math.exp(log_prob - float(path.log_probs_B_S[i, s]))
                within = min(max(ratio, 1 - CLIP), 1 + CLIP)
                clipped += within != ratio
                if -advantage * ratio >= -advantage * within:
                    total = [
                        so_far - advantage * ratio * slope / (images * steps)
                        for so_far, slope in zip(total, slopes, strict=True)
                    ]
        self._adamw(total)
        return clipped / (images * steps)

    def _row(self, timestep: int, x: list[float], y: list[float]) -> tuple[float, list[float]]:
        """Log-probability of one step, averaged over the latent, and its gradient."""
        scale, weight, std = step_of(timestep)
        slope, offset = self.weights
        log_prob, slopes = 0.0, [0.0, 0.0]
        for before, after in zip(x, y, strict=True):
            error = after - (scale * before + weight * (slope * before + offset))
            log_prob -= error**2 / (2 * std**2) + math.log(std * math.sqrt(2 * math.pi))
            slopes[0] += error / std**2 * weight * before
            slopes[1] += error / std**2 * weight
        return log_prob / len(x), [each / len(x) for each in slopes]

    def _adamw(self, gradient: list[float]) -> None:
        norm = math.hypot(*gradient)
        shrink = min(1.0, MOST_NORM / (norm + 1e-6))
        self.step += 1
        for i, slope in enumerate(gradient):
            self.first[i] = 0.9 * self.first[i] + 0.1 * slope * shrink
            self.second[i] = 0.999 * self.second[i] + 0.001 * (slope * shrink) ** 2
            mean = self.first[i] / (1 - 0.9**self.step)
            square = self.second[i] / (1 - 0.999**self.step)
            self.weights[i] *= 1 - LEARNING_RATE * WEIGHT_DECAY
            self.weights[i] -= LEARNING_RATE * mean / (math.sqrt(square) + EPSILON)


def as_stable_diffusion(model: Any) -> Any:
    """The model on the official schedule, in double precision."""
    model.scheduler.alphas_cumprod = torch.from_numpy(alphas())
    model.scheduler.final_alpha_cumprod = model.scheduler.alphas_cumprod[0]
    model.scheduler.register_to_config(steps_offset=1)
    return model


def sampled(model: Any, round: int) -> Batch:
    """A round of pictures, with the steps that are trained."""
    kept = KeptSteps(SETTINGS.ddpo.steps_per_image)
    picked = pick_training_steps(model, SETTINGS.sampler, kept, range(IMAGES), seed=0, round=round)
    noises = torch.randn(
        IMAGES, 4, 2, 2, generator=torch.Generator().manual_seed(round), dtype=torch.float64
    )
    return sample(
        model, "1 hand", SETTINGS.sampler, SampleRequest(0, round, range(IMAGES), noises, picked)
    )


def rewards_of(batch: Batch, best: int) -> list[float]:
    """(cos + 1) / 2 of the latents themselves."""
    rows = batch.latents_B_C_H_W.flatten(1).numpy()
    norms = np.linalg.norm(rows, axis=1)
    cosines = rows @ rows[best] / norms / norms[best]
    return [float(cosine + 1) / 2 for cosine in cosines]


def test_two_rounds_of_the_update(line_model: Callable[..., Any]) -> None:
    """The second round's weights were moved after sampling, so that ratios leave the clip."""
    model = as_stable_diffusion(line_model(0.9, 0.05, to_one=False))
    plain, student = PlainPolicy(0.9, 0.05), ddpo(SETTINGS.ddpo, SETTINGS.sampler, model)
    official = {1 + 20 * step for step in range(STEPS)}
    for round, moved in enumerate((0.0, 1e-3)):
        batch = sampled(model, round)
        assert batch.trajectory is not None
        assert set(batch.trajectory.timesteps_B_S.flatten().tolist()) <= official
        rewards = rewards_of(batch, best=3)
        model.slope.data += moved
        plain.weights[0] += moved
        metrics = student.learn(
            feedback_on(batch, rewards_B=torch.tensor(rewards, dtype=torch.float64), round=round)
        )
        share = plain.learn(batch, rewards)
        assert metrics["clip_fraction"] == pytest.approx(share)
        assert (0.2 < share < 0.98) if moved else share == 0, share
        assert [float(model.slope.detach()), float(model.offset.detach())] == pytest.approx(
            plain.weights, rel=1e-9
        )
    assert abs(plain.weights[0] - 0.9 - 1e-3) > 1e-4


def test_reward_advantage_triplet_and_noise() -> None:
    latents = torch.tensor([[3.0, 4.0], [4.0, 3.0], [-3.0, 4.0], [0.0, -1.0]]).view(4, 1, 1, 2)
    flat: Any = torch.nn.Flatten()
    rewards = positives_reward(flat, latents, latents[:1])
    assert rewards.tolist() == pytest.approx([1.0, 0.98, 0.64, 0.1])  # cosines 1, .96, .28, -.8
    assert advantages(rewards).tolist() == pytest.approx(
        [0.878776030, 0.823852530, -0.109847000, -1.592781560], abs=1e-6
    )
    anchor, positive, negative = (latents[i].flatten()[None] for i in range(3))
    # (1 - .98) - (1 - .64) + .5
    assert float(triplet_loss(anchor, positive, negative, 0.5)) == pytest.approx(0.16)
    best = torch.full((1, 2, 2), 2.0)
    drawn = NoisePrior(best, best[None] * -1).draw(64, (1, 2, 2), SETTINGS.noise, seed=0, round=1)
    near = drawn.mean((1, 2, 3)) / (2 * math.sqrt(1 - 0.1**2))
    assert near[:32].tolist() == pytest.approx([1.0] * 32, abs=0.15)
    assert near[32:].tolist() == pytest.approx([-1.0] * 32, abs=0.15)
