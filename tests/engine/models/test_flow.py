"""The flow's SDE: its steps by hand, its marginals in closed form, its timesteps as diffusers'."""

import math
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from stand_ins import BellModel, normal_log_density
from students import Student, ddpo, feedback_on

from hero_engine.config.settings import SamplerSettings
from hero_engine.config.update_settings import DdpoSettings, ForwardSettings
from hero_engine.models.flow import Flow
from hero_engine.policy.sampler import (
    KeptSteps,
    SampleRequest,
    log_prob,
    pick_training_steps,
    sample,
)
from hero_engine.updates.forward import ForwardUpdate

MEAN, SPREAD = 0.8, 0.5
"""Of the toy's pictures, each one number."""


def flow(**settings: Any) -> Flow:
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)

    def schedule(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        scheduler.set_timesteps(count)
        return scheduler.timesteps, scheduler.sigmas

    return Flow(schedule)


def velocity(x: torch.Tensor, t: float) -> torch.Tensor:
    """E[n - x_0 | x_t = x] where x_0 ~ N(MEAN, SPREAD^2): the perfect model of that toy."""
    variance = (1 - t) ** 2 * SPREAD**2 + t**2
    surprise = (x - (1 - t) * MEAN) / variance
    return t * surprise - (MEAN + (1 - t) * SPREAD**2 * surprise)


def moments(made: Flow, steps: int, eta: float) -> list[tuple[float, float, float]]:
    """(t, mean, variance) after every step from N(0, 1), exactly: each step is affine in x."""
    mean, variance, seen = 0.0, 1.0, []
    timesteps, previous = made.steps(steps)
    for timestep, prev in zip(timesteps, previous, strict=True):
        x = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1)
        output = velocity(x, float(timestep) / 1000)
        ends, std = made.step(output, timestep.expand(2), prev.expand(2), x, eta)
        offset, slope = float(ends[0]), float(ends[1] - ends[0])
        mean, variance = offset + slope * mean, slope**2 * variance + float(std[0]) ** 2
        seen.append((float(prev) / 1000, mean, variance))
    return seen


def errors(steps: int, eta: float) -> tuple[float, float]:
    """The largest error of the mean and of the standard deviation, against the flow's own."""
    gaps = [
        (
            abs(mean - (1 - t) * MEAN),
            abs(math.sqrt(variance) - math.sqrt((1 - t) ** 2 * SPREAD**2 + t**2)),
        )
        for t, mean, variance in moments(flow(), steps, eta)
    ]
    return max(gap for gap, _ in gaps), max(gap for _, gap in gaps)


def test_at_28_steps_noise_is_less_than_flow_grpos() -> None:
    """Their standard deviation at a = 0.7 is a sqrt(t / (1 - t)) sqrt(t - s)."""
    made = flow(shift=3.0)
    timesteps, previous = made.steps(28)
    t, s = timesteps.double() / 1000, previous.double() / 1000
    shares = made.std(timesteps, previous, 0.5)[1:] / (0.7 * (t / (1 - t) * (t - s)).sqrt())[1:]
    most = shares[2:21]
    assert all(0.785 < share < 0.895 for share in most.tolist())
    assert all(share < 0.8 for share in shares[[0, 1, 24, 25]].tolist())


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_marginals_are_the_flows_at_every_t(eta: float) -> None:
    """They come nearer as steps grow, as those of the ODE (eta = 0) do."""
    few, many = errors(50, eta), errors(800, eta)
    assert max(many) < 0.004
    assert max(many) < max(few) / 8


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_marginals_are_exact_for_a_single_picture(
    monkeypatch: pytest.MonkeyPatch, eta: float, steps: int
) -> None:
    """However few the steps: the coefficients of x_0 and of the noise are kept."""
    monkeypatch.setattr(f"{__name__}.SPREAD", 0.0)
    for t, mean, variance in moments(flow(), steps, eta):
        assert mean == pytest.approx((1 - t) * MEAN, abs=1e-6)
        assert math.sqrt(variance) == pytest.approx(t, abs=1e-6)


@pytest.mark.parametrize("t", [0.9, 0.5, 0.1])
def test_a_short_step_is_flow_grpos(t: float) -> None:
    """Euler-Maruyama of dx = [v + g^2/(2t) (x + (1-t) v)] dt + g dw, g^2 = a^2 t/(1-t)."""
    eta, short, x, v = 0.5, 1e-5, 0.7, -0.4
    times = torch.tensor([[1000 * t], [1000 * (t - short)]], dtype=torch.float64)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    mean, std = flow().step(v * one, *times, x * one, eta)
    g2 = (math.sqrt(2) * eta) ** 2 * t / (1 - t)
    drift = v + g2 / (2 * t) * (x + (1 - t) * v)
    assert float(std) == pytest.approx(math.sqrt(g2 * short), rel=1e-3)
    assert (float(mean) - x) / -short == pytest.approx(drift, rel=1e-3)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_log_probability_by_hand(eta: float) -> None:
    """Two pictures of four numbers, at different timesteps, with plain arithmetic."""
    made, random = flow(), torch.Generator().manual_seed(0)
    x, v, action = torch.randn(3, 2, 1, 2, 2, generator=random, dtype=torch.float64).unbind()
    times = [(1.0, 0.8), (0.6, 0.35)]
    timesteps = torch.tensor([1000 * t for t, _ in times], dtype=torch.float64)
    previous = torch.tensor([1000 * s for _, s in times], dtype=torch.float64)
    got = log_prob(action, *made.step(v, timesteps, previous, x, eta))
    for image, (t, s) in enumerate(times):
        tau = eta * s / t * math.sqrt(t * t - ((1 - t) * s / (1 - s)) ** 2)
        densities = []
        rows = (each[image].flatten().tolist() for each in (x, v, action))
        for x_t, speed, x_s in zip(*rows, strict=True):
            clean, noise = x_t - t * speed, x_t + (1 - t) * speed
            mean = (1 - s) * clean + math.sqrt(s * s - tau * tau) * noise
            densities.append(normal_log_density(x_s, mean, tau))
        assert float(got[image]) == pytest.approx(sum(densities) / 4, rel=1e-12)


def test_the_last_steps_have_no_noise() -> None:
    """The schedule ends at t = 0.001 and 0."""
    made = flow()
    stds = made.std(*made.steps(6), 1.0).tolist()
    assert stds[-2:] == [0, 0]
    assert min(stds[:-2]) > 0.1 and stds == sorted(stds, reverse=True)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_eta_zero_is_diffusers_step(shift: float) -> None:
    made, scheduler = flow(shift=shift), FlowMatchEulerDiscreteScheduler(shift=shift)
    timesteps, previous = made.steps(7)
    scheduler.set_timesteps(7)
    x, output = torch.randn(2, 1, 2, 3, 3).unbind()
    for timestep, prev in zip(timesteps, previous, strict=True):
        want = scheduler.step(output, timestep.float(), x).prev_sample
        mean, std = made.step(output, timestep.expand(1), prev.expand(1), x, 0.0)
        assert torch.equal(mean, want) and float(std.max()) == 0
    assert float(timesteps[0]) == 1000 and float(previous[-1]) == 0


def test_timesteps_that_are_not_noise_levels() -> None:
    """As CogView4's: a curve between the two, exact at the sampler's own steps."""

    def curved(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        timesteps = torch.linspace(1000, 1, count)
        levels = 2 * timesteps / (1000 + timesteps)
        return timesteps, torch.cat([levels, levels.new_zeros(1)])

    made = Flow(curved)
    timesteps, _ = made.steps(4)
    assert timesteps[0] == 1000
    share = torch.tensor([0.0, 0.3, 0.8, 1.0])
    found = made.timesteps_at(share)
    assert found.tolist() == pytest.approx([1, 176.47, 666.67, 1000], abs=0.1)
    clean, noise = torch.zeros(4, 1, 1, 1), torch.ones(4, 1, 1, 1)
    assert made.noised(clean, noise, found).flatten().tolist()[1:] == pytest.approx(
        [0.3, 0.8, 1.0], abs=1e-4
    )
    at_steps = made.noised(clean, noise, timesteps).flatten()
    assert torch.equal(at_steps, curved(4)[1][:-1])


def test_a_perfect_velocity_gives_back_the_picture() -> None:
    made = flow()
    clean, noise = torch.randn(2, 3, 2, 2, 2, dtype=torch.float64).unbind()
    t = made.timesteps_at(torch.tensor([0.0, 0.25, 1.0]))
    assert t.tolist() == [0, 250, 1000]
    x_t = made.noised(clean, noise, t)
    assert torch.equal(x_t[0], clean[0]) and torch.equal(x_t[2], noise[2])
    assert torch.allclose(x_t[1], 0.75 * clean[1] + 0.25 * noise[1])
    assert torch.allclose(made.clean(made.target(clean, noise, t), x_t, t), clean)


class FlowBell(BellModel):
    """The perfect flow to N(m, 0.3^2), m its one weight; its base has m = 0."""

    def __init__(self) -> None:
        super().__init__()
        self.process: Any = flow()

    def predicted(self, latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """E[n - x_0 | x_t], as `velocity`, at each row's own t."""
        t = timesteps.double().view(-1, 1, 1, 1) / 1000
        mean = 0.0 if self.is_base else self.offset
        surprise = (latents - (1 - t) * mean) / ((1 - t) ** 2 * self.SPREAD**2 + t**2)
        return t * surprise - (mean + (1 - t) * self.SPREAD**2 * surprise)


def flow_updates(model: Any, sampler: SamplerSettings) -> dict[str, Any]:
    policy = DdpoSettings(
        learning_rate=0.1,
        betas=(0.8, 0.9),
        steps_per_image=7,
        images_per_update=128,
        microbatch=128,
        clip_range=0.3,
    )
    forward = ForwardSettings(steps=20, learning_rate=0.01, old_policy="round", history="round")
    return {
        "ddpo": ddpo(policy, sampler, model),
        "forward": Student(ForwardUpdate(forward, model, "a")),
    }


@pytest.mark.parametrize("name", ["ddpo", "forward"])
def test_an_update_finds_a_known_optimum(name: str) -> None:
    """What lies near 1 is rewarded, or the nearer half is good: pictures start around 0."""
    model: Any = FlowBell()
    sampler = SamplerSettings(steps=8, eta=0.7, guidance=1)
    update = flow_updates(model, sampler)[name]
    distances = []
    for round in range(14):
        images = range(128)
        kept = pick_training_steps(model, sampler, KeptSteps(7), images, seed=1, round=round)
        random = torch.Generator().manual_seed(round)
        noises = torch.randn(128, 1, 1, 1, generator=random, dtype=torch.float64)
        batch = sample(model, "a", sampler, SampleRequest(1, round, images, noises, kept))
        distance = (batch.latents_B_C_H_W.flatten() - 1).abs()
        distances.append(float(distance.mean()))
        good = (distance < distance.median()).tolist()
        update.learn(feedback_on(batch, good, -distance, round=round))
    assert distances[0] > 0.9
    assert distances[-1] < 0.45
    assert float(model.offset.detach()) == pytest.approx(1, abs=0.3)
