"""DDIM's steps against a closed form and diffusers."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from stand_ins import ddim_by_hand

from hero_engine.models.ddim import Diffusion


def process(**settings: Any) -> Diffusion:
    return Diffusion(DDIMScheduler(clip_sample=False, **settings))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_step_against_the_closed_form(eta: float, kind: str) -> None:
    made = process(prediction_type=kind, set_alpha_to_one=False)
    alphas = torch.tensor([0.999, 0.99, 0.9, 0.6, 0.2], dtype=torch.float64)
    made.scheduler.alphas_cumprod, made.scheduler.final_alpha_cumprod = alphas, alphas[0]
    x, output = (torch.full((1, 1, 1, 1), number, dtype=torch.float64) for number in (0.7, -0.4))
    for timestep, prev, a_prev in [(4, 2, 0.9), (3, 2, 0.9), (2, -1, 0.999)]:
        mean, std = made.step(output, torch.tensor([timestep]), torch.tensor([prev]), x, eta)
        want_mean, want_std = ddim_by_hand(0.7, -0.4, float(alphas[timestep]), a_prev, eta, kind)
        assert float(mean) == pytest.approx(want_mean, rel=1e-12)
        assert float(std) == pytest.approx(want_std, rel=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("to_one", [True, False])
@pytest.mark.parametrize("offset", [0, 1])
def test_step_against_diffusers(eta: float, kind: str, to_one: bool, offset: int) -> None:
    made = process(prediction_type=kind, set_alpha_to_one=to_one, steps_offset=offset)
    timesteps, previous = made.steps(20)
    random = torch.Generator().manual_seed(0)
    x, output, noise = torch.randn(3, 2, 3, 4, 4, generator=random).unbind()
    for timestep, prev in zip(timesteps, previous, strict=True):
        want = made.scheduler.step(output, int(timestep), x, eta=eta, variance_noise=noise)
        mean, std = made.step(output, timestep.expand(2), prev.expand(2), x, eta)
        # 2e-4: at t = 0 diffusers' own 1 - a / a_prev in float32 has lost most of its digits
        assert torch.allclose(mean + std * noise, want.prev_sample, atol=2e-4, rtol=1e-4)


def test_rows_may_have_different_timesteps() -> None:
    made = process()
    x, output = torch.randn(2, 3, 2, 2, 2).unbind()
    t, prev = torch.tensor([900, 500, 2]), torch.tensor([700, 300, -1])
    together = made.step(output, t, prev, x, 0.7)
    for i in range(3):
        alone = made.step(output[i : i + 1], t[i : i + 1], prev[i : i + 1], x[i : i + 1], 0.7)
        assert torch.equal(together[0][i : i + 1], alone[0])
        assert torch.equal(together[1][i : i + 1], alone[1])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_gives_back_the_picture(kind: str) -> None:
    made = process(prediction_type=kind)
    clean, noise = torch.randn(2, 3, 2, 2, 2, dtype=torch.float64).unbind()
    t = made.timesteps_at(torch.tensor([0.05, 0.5, 1.0]))
    assert t.tolist() == [50, 500, 999]
    x_t = made.noised(clean, noise, t)
    assert torch.allclose(made.clean(made.target(clean, noise, t), x_t, t), clean, atol=1e-9)


def test_unknown_prediction_type() -> None:
    made, one = process(), torch.ones(1, 1, 1, 1)
    made.scheduler.register_to_config(prediction_type="flow")
    with pytest.raises(ValueError, match="flow"):
        made.step(one, torch.tensor([1]), torch.tensor([0]), one, 1.0)
