"""DDIM steps against a closed form and diffusers; log-probabilities; pictures by name."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from stand_ins import normal_log_density

from hero_engine.config import SamplerSettings
from hero_engine.errors import StopRequested
from hero_engine.pipeline import Model
from hero_engine.records import Batch
from hero_engine.sampler import (
    Schedule,
    ddim_mean_and_std,
    log_prob,
    pick_training_steps,
    sample,
)

SETTINGS = SamplerSettings(steps=6, eta=1.0, guidance=3.0, negative_prompt="bad")


def closed_form(
    x: float, output: float, a: float, a_prev: float, eta: float, kind: str
) -> tuple[float, float]:
    """DDIM's equations 12 and 16 for one number."""
    if kind == "epsilon":
        noise = output
        clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
    else:
        clean = math.sqrt(a) * x - math.sqrt(1 - a) * output
        noise = math.sqrt(a) * output + math.sqrt(1 - a) * x
    std = eta * math.sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev))
    mean = math.sqrt(a_prev) * clean + math.sqrt(1 - a_prev - std**2) * noise
    return mean, std


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_step_against_the_closed_form(eta: float, kind: str) -> None:
    alphas = torch.tensor([0.99, 0.9, 0.6, 0.2], dtype=torch.float64)
    x, output = 0.7, -0.4
    for timestep, prev, a_prev in [(3, 1, 0.9), (2, 1, 0.9), (1, -1, 0.999)]:
        mean, std = ddim_mean_and_std(
            torch.full((1, 1, 1, 1), output, dtype=torch.float64),
            torch.tensor([timestep]),
            torch.tensor([prev]),
            torch.full((1, 1, 1, 1), x, dtype=torch.float64),
            alphas,
            torch.tensor(0.999, dtype=torch.float64),
            eta,
            kind,
        )
        want_mean, want_std = closed_form(x, output, float(alphas[timestep]), a_prev, eta, kind)
        assert float(mean) == pytest.approx(want_mean, rel=1e-12)
        assert float(std) == pytest.approx(want_std, rel=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("to_one", [True, False])
@pytest.mark.parametrize("offset", [0, 1])
def test_step_against_diffusers(eta: float, kind: str, to_one: bool, offset: int) -> None:
    scheduler = DDIMScheduler(
        prediction_type=kind, set_alpha_to_one=to_one, steps_offset=offset, clip_sample=False
    )
    schedule = Schedule.of(SimpleNamespace(scheduler=scheduler), 20)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(0)
    x, output, noise = torch.randn(3, 2, 3, 4, 4, generator=random).unbind()
    for timestep, prev in zip(schedule.timesteps_T, schedule.prev_timesteps_T, strict=True):
        want = scheduler.step(output, int(timestep), x, eta=eta, variance_noise=noise)
        mean, std = ddim_mean_and_std(
            output,
            timestep.expand(2),
            prev.expand(2),
            x,
            schedule.alphas_cumprod,
            schedule.final_alpha,
            eta,
            kind,
        )
        # 2e-4: at t = 0 diffusers' own 1 - a / a_prev in float32 has lost most of its digits
        assert torch.allclose(mean + std * noise, want.prev_sample, atol=2e-4, rtol=1e-4)


def test_rows_may_have_different_timesteps() -> None:
    alphas = torch.linspace(0.99, 0.1, 10)
    x, output = torch.randn(2, 3, 2, 2, 2).unbind()
    t, prev = torch.tensor([9, 5, 2]), torch.tensor([7, 3, -1])
    together = ddim_mean_and_std(output, t, prev, x, alphas, alphas[0], 0.7, "epsilon")
    for i in range(3):
        one = (output[i : i + 1], t[i : i + 1], prev[i : i + 1], x[i : i + 1])
        alone = ddim_mean_and_std(*one, alphas, alphas[0], 0.7, "epsilon")
        assert torch.equal(together[0][i : i + 1], alone[0])
        assert torch.equal(together[1][i : i + 1], alone[1])


def test_unknown_prediction_type() -> None:
    one = torch.ones(1, 1, 1, 1)
    with pytest.raises(ValueError, match="flow"):
        ddim_mean_and_std(
            one, torch.tensor([1]), torch.tensor([0]), one, torch.tensor([0.9, 0.5]), one, 1, "flow"
        )


def test_log_prob_is_the_mean_of_normal_densities() -> None:
    x, mean = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64).unbind()
    std = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    want = torch.distributions.Normal(mean, std.expand_as(mean)).log_prob(x).mean(dim=(1, 2, 3))
    assert torch.allclose(log_prob(x, mean, std), want, rtol=1e-12)


def test_log_prob_without_noise_is_refused() -> None:
    x = torch.zeros(2, 1, 2, 2)
    with pytest.raises(ValueError, match="no density"):
        log_prob(x, x, torch.tensor([0.5, 0.0]).view(2, 1, 1, 1))


def test_picked_steps_are_distinct_even_and_by_name(square: Model) -> None:
    picked = pick_training_steps(square, SamplerSettings(steps=10), 4, 500, seed=1, round=2)
    assert picked.shape == (500, 4)
    assert picked.dtype == torch.int64
    assert all(len(set(row)) == 4 and row == sorted(row) for row in picked.tolist())
    counts = torch.bincount(picked.flatten(), minlength=10)
    assert counts.min() > 150 and counts.max() < 250  # 200 expected, standard deviation 11
    again = pick_training_steps(square, SamplerSettings(steps=10), 4, 3, seed=1, round=2)
    assert torch.equal(again, picked[:3])


@pytest.mark.parametrize(("to_one", "last"), [(True, 8), (False, 9)])
def test_step_without_noise_is_not_picked(to_one: bool, last: int) -> None:
    scheduler = DDIMScheduler(set_alpha_to_one=to_one, steps_offset=1, clip_sample=False)
    model: Any = SimpleNamespace(scheduler=scheduler)
    picked = pick_training_steps(model, SamplerSettings(steps=10), 10, 4, seed=0, round=0)
    assert picked.tolist() == [list(range(last + 1))] * 4
    with pytest.raises(ValueError, match="eta"):
        pick_training_steps(model, SamplerSettings(steps=10, eta=0), 2, 4, seed=0, round=0)


def test_same_pictures_in_other_minibatches(model: Model) -> None:
    noises = torch.randn(5, *model.latent_shape)
    kept = pick_training_steps(model, SETTINGS, 3, 5, seed=1, round=2)

    def parts(size: int) -> list[Any]:
        return [
            sample(
                model,
                "a hand",
                noises[at : at + size],
                SETTINGS,
                seed=1,
                round=2,
                first_index=at,
                kept_steps_B_S=kept[at : at + size],
            )
            for at in range(0, 5, size)
        ]

    whole, halves = Batch.cat(parts(5)), Batch.cat(parts(2))
    for name, tensor in whole.tensors().items():
        assert torch.allclose(halves.tensors()[name], tensor, atol=1e-4), name


def test_another_purpose_round_or_seed_changes_the_picture(square: Model) -> None:
    noises = torch.randn(1, *square.latent_shape)

    def latent(**name: Any) -> torch.Tensor:
        return sample(square, "a", noises, SETTINGS, **name).latents_B_C_H_W

    first = latent(seed=1, round=0)
    assert torch.equal(latent(seed=1, round=0), first)
    for other in ({"seed": 2, "round": 0}, {"seed": 1, "round": 1}):
        assert not torch.allclose(latent(**other), first, atol=1e-2)
    assert not torch.allclose(latent(seed=1, round=0, purpose="probe"), first, atol=1e-2)


def test_eta_zero_is_diffusers_pipeline(square: Model, square_folder: Any) -> None:
    """Without noise in the steps our pictures are those of diffusers' own pipeline."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(square_folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    noises = torch.randn(2, *square.latent_shape)
    want = pipeline(
        ["a hand"] * 2,
        negative_prompt=["bad"] * 2,
        latents=noises,
        num_inference_steps=6,
        guidance_scale=3.0,
        output_type="latent",
    ).images
    settings = SamplerSettings(steps=6, eta=0, guidance=3.0, negative_prompt="bad")
    ours = sample(square, "a hand", noises, settings, seed=0, round=0)
    assert torch.allclose(ours.latents_B_C_H_W, want, atol=1e-4)


def test_kept_steps_are_the_ones_taken(line_model: Callable[..., Any]) -> None:
    """All steps kept: each leads to the next, and its density is the closed form's."""
    model, settings = line_model(0.3, 0.1, to_one=False), SamplerSettings(steps=4, guidance=1)
    model.scheduler.register_to_config(steps_offset=1)
    noises = torch.randn(2, 1, 1, 1, dtype=torch.float64)
    kept = torch.arange(4).expand(2, 4)
    batch = sample(model, "x", noises, settings, seed=0, round=0, kept_steps_B_S=kept)
    path = batch.trajectory
    assert path is not None
    assert path.timesteps_B_S[0].tolist() == [751, 501, 251, 1]
    assert path.prev_timesteps_B_S[0].tolist() == [501, 251, 1, -249]
    assert torch.equal(path.latents_B_S_C_H_W[:, 0], noises)
    assert torch.equal(path.latents_B_S_C_H_W[:, 1:], path.next_latents_B_S_C_H_W[:, :-1])
    assert torch.equal(path.next_latents_B_S_C_H_W[:, 3], batch.latents_B_C_H_W)
    alphas = model.scheduler.alphas_cumprod.double()
    for image in range(2):
        for step in range(4):
            t, prev = (
                int(path.timesteps_B_S[image, step]),
                int(path.prev_timesteps_B_S[image, step]),
            )
            x = float(path.latents_B_S_C_H_W[image, step])
            a_prev = float(alphas[max(prev, 0)])
            mean, std = closed_form(x, 0.3 * x + 0.1, float(alphas[t]), a_prev, 1.0, "epsilon")
            action = float(path.next_latents_B_S_C_H_W[image, step])
            want = normal_log_density(action, mean, std)
            assert float(path.log_probs_B_S[image, step]) == pytest.approx(want, rel=1e-9)


def test_stop_comes_out_and_harms_nothing(square: Model) -> None:
    noises, seen = torch.randn(1, *square.latent_shape), []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise StopRequested

    with pytest.raises(StopRequested):
        sample(square, "a", noises, SETTINGS, seed=0, round=0, on_step=stop)
    assert seen == [(1, 6), (2, 6)]
    assert len(sample(square, "a", noises, SETTINGS, seed=0, round=0)) == 1
