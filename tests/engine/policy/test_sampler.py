"""Log-probabilities; which steps are trained; pictures by name."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from stand_ins import ddim_by_hand, normal_log_density

from hero_engine.config.settings import SamplerSettings
from hero_engine.core.batch import Batch
from hero_engine.core.errors import StopRequested
from hero_engine.models.ddim import Diffusion
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import (
    KeptSteps,
    SampleRequest,
    log_prob,
    pick_training_steps,
    sample,
    sample_batches,
)

SETTINGS = SamplerSettings(steps=6, eta=1.0, guidance=3.0, negative_prompt="bad")


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
    ten, four = SamplerSettings(steps=10), KeptSteps(4)
    picked = pick_training_steps(square, ten, four, range(500), seed=1, round=2)
    assert picked.shape == (500, 4)
    assert picked.dtype == torch.int64
    assert all(len(set(row)) == 4 and row == sorted(row) for row in picked.tolist())
    counts = torch.bincount(picked.flatten(), minlength=10)
    assert counts.min() > 150 and counts.max() < 250  # 200 expected, standard deviation 11
    again = pick_training_steps(square, ten, four, range(7, 10), seed=1, round=2)
    assert torch.equal(again, picked[7:10])


@pytest.mark.parametrize(
    ("window", "steps"), [((0.0, 0.5), {0, 1, 2, 3, 4}), ((0.5, 0.8), {5, 6, 7}), ((0.9, 1.0), {9})]
)
def test_picked_steps_come_from_the_window(
    square: Model, window: tuple[float, float], steps: set[int]
) -> None:
    picked = pick_training_steps(
        square, SamplerSettings(steps=10), KeptSteps(9, window), range(20), 0, 0
    )
    assert {step for row in picked.tolist() for step in row} == steps
    with pytest.raises(ValueError, match="window"):
        empty = KeptSteps(9, (0.4, 0.4))
        pick_training_steps(square, SamplerSettings(steps=10), empty, range(20), 0, 0)


@pytest.mark.parametrize(("to_one", "last"), [(True, 8), (False, 9)])
def test_step_without_noise_is_not_picked(to_one: bool, last: int) -> None:
    scheduler = DDIMScheduler(set_alpha_to_one=to_one, steps_offset=1, clip_sample=False)
    model: Any = SimpleNamespace(process=Diffusion(scheduler))
    picked = pick_training_steps(model, SamplerSettings(steps=10), KeptSteps(10), range(4), 0, 0)
    assert picked.tolist() == [list(range(last + 1))] * 4
    with pytest.raises(ValueError, match="eta"):
        pick_training_steps(model, SamplerSettings(steps=10, eta=0), KeptSteps(2), range(4), 0, 0)


def test_same_pictures_in_other_microbatches(model: Model) -> None:
    noises = torch.randn(5, *model.latent_shape)
    kept = pick_training_steps(model, SETTINGS, KeptSteps(3), range(5), seed=1, round=2)
    request = SampleRequest(1, 2, range(5), noises, kept)
    done: list[float] = []
    whole = sample(model, "a hand", SETTINGS, request)
    parts = list(sample_batches(model, "a hand", SETTINGS, request, 2, done.append))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert done == pytest.approx([k / 3 for k in range(1, 13)] + [4 + k / 6 for k in range(1, 7)])
    halves = Batch.cat(parts)
    for name, tensor in whole.tensors().items():
        assert torch.allclose(halves.tensors()[name], tensor, atol=1e-4), name


def test_another_purpose_round_or_seed_changes_the_picture(square: Model) -> None:
    noises = torch.randn(1, *square.latent_shape)

    def latent(request: SampleRequest) -> torch.Tensor:
        return sample(square, "a", SETTINGS, request).latents_B_C_H_W

    request = SampleRequest(1, 0, [0], noises)
    first = latent(request)
    assert torch.equal(latent(request), first)
    changes: list[dict[str, Any]] = [
        {"seed": 2},
        {"round": 1},
        {"images": [1]},
        {"purpose": "probe"},
    ]
    for change in changes:
        assert not torch.allclose(latent(replace(request, **change)), first, atol=1e-2)


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
    ours = sample(square, "a hand", settings, SampleRequest(0, 0, range(2), noises))
    assert torch.allclose(ours.latents_B_C_H_W, want, atol=1e-4)


def test_kept_steps_are_the_ones_taken(line_model: Callable[..., Any]) -> None:
    """All steps kept: each leads to the next, and its density is the closed form's."""
    model, settings = line_model(0.3, 0.1, to_one=False), SamplerSettings(steps=4, guidance=1)
    model.scheduler.register_to_config(steps_offset=1)
    noises = torch.randn(2, 1, 1, 1, dtype=torch.float64)
    kept = torch.arange(4).expand(2, 4)
    batch = sample(model, "x", settings, SampleRequest(0, 0, range(2), noises, kept))
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
            mean, std = ddim_by_hand(x, 0.3 * x + 0.1, float(alphas[t]), a_prev, 1.0, "epsilon")
            action = float(path.next_latents_B_S_C_H_W[image, step])
            want = normal_log_density(action, mean, std)
            assert float(path.log_probs_B_S[image, step]) == pytest.approx(want, rel=1e-9)


def test_stop_comes_out_and_harms_nothing(square: Model) -> None:
    seen: list[tuple[int, int]] = []
    request = SampleRequest(0, 0, [0], torch.randn(1, *square.latent_shape))

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise StopRequested

    with pytest.raises(StopRequested):
        sample(square, "a", SETTINGS, request, stop)
    assert seen == [(1, 6), (2, 6)]
    assert len(sample(square, "a", SETTINGS, request)) == 1
