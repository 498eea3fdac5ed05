"""D3PO: its loss by hand, its gradient against finite differences, its pairs; that it learns."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from stand_ins import normal_log_density
from students import Student, d3po, feedback_on

from hero_engine.config.settings import SamplerSettings
from hero_engine.config.update_settings import D3poSettings
from hero_engine.core.batch import Batch
from hero_engine.core.errors import HeroError, StopRequested
from hero_engine.models.pipeline import Model
from hero_engine.policy.noise_prior import shared_noises
from hero_engine.policy.sampler import KeptSteps, SampleRequest, pick_training_steps, sample
from hero_engine.updates import Feedback, UpdateId
from hero_engine.updates.d3po import draw_pairs, preference_loss

SAMPLER = SamplerSettings(steps=5, eta=0.8, guidance=1.0)
SETTINGS = D3poSettings(pairs=6, pairs_per_update=6, microbatch=6, images_per_noise=1)
GOOD = (True, False, None, True, False, False)


def play(
    model: Any, good: tuple[bool | None, ...] = GOOD, shape: tuple[int, ...] = (2, 1, 2)
) -> Feedback:
    """Labelled pictures of which every step with noise is kept."""
    images = range(len(good))
    kept = pick_training_steps(model, SAMPLER, KeptSteps(20), images, seed=0, round=0)
    random = torch.Generator().manual_seed(4)
    noises = torch.randn(len(good), *shape, generator=random, dtype=model.dtype)
    batch = sample(model, "a", SAMPLER, SampleRequest(0, 0, images, noises, kept))
    return feedback_on(batch, good)


def pairs_of(student: Student, given: Feedback) -> torch.Tensor:
    lesson = student.update.lesson(given)
    return draw_pairs(lesson, student.update.settings.pairs, UpdateId(0, given.round.number))


def test_the_papers_settings() -> None:
    got = D3poSettings()
    assert (got.beta, got.clip_range, got.learning_rate) == (0.1, 0.1, 3e-5)
    assert (got.betas, got.weight_decay, got.adam_epsilon) == ((0.9, 0.999), 1e-4, 1e-8)
    assert (got.max_grad_norm, got.pairs_per_update, got.steps_per_image) == (1.0, 1, 20)


def test_loss_by_hand() -> None:
    """Ratios 1.05 and .95 are as they are; 2 and .3 are cut to 1.1 and .9."""
    ratios = torch.tensor([[1.05, 0.95], [2.0, 0.3], [0.3, 2.0]], dtype=torch.float64)
    got = preference_loss(*ratios.log().T, SETTINGS)
    want = [
        math.log(1 + math.exp(-0.1 * (math.log(better) - math.log(worse))))
        for better, worse in [(1.05, 0.95), (1.1, 0.9), (0.9, 1.1)]
    ]
    assert got.tolist() == pytest.approx(want)
    equal = preference_loss(torch.zeros(1), torch.zeros(1), SETTINGS)
    assert float(equal) == pytest.approx(math.log(2))


def test_at_the_papers_settings_the_slope_never_fades() -> None:
    """Between its limits the loss falls by 0.1 x 0.495 to 0.505, however well a pair is known."""
    logs = torch.linspace(math.log(0.901), math.log(1.099), 41, dtype=torch.float64)
    better, worse = (
        each.flatten().requires_grad_() for each in torch.meshgrid(logs, logs, indexing="ij")
    )
    loss = preference_loss(better, worse, D3poSettings())
    (slopes,) = torch.autograd.grad(loss.sum(), better)
    assert -0.0506 < float(slopes.min()) < float(slopes.max()) < -0.0494
    held = preference_loss(better, worse, D3poSettings(beta=30.0, clip_range=0.9))
    (slopes,) = torch.autograd.grad(held.sum(), better)
    assert -30 < float(slopes.min()) < -29 and -0.1 < float(slopes.max()) < 0


def log_ratios(model: Any, batch: Batch, slope: float, offset: float) -> Any:
    """log p/q of every kept step in plain Python; the base predicts 0."""
    path, alphas = batch.trajectory, model.scheduler.alphas_cumprod.double()
    assert path is not None
    found = np.zeros(tuple(path.timesteps_B_S.shape))
    for i, s in np.ndindex(*found.shape):
        a, prev = float(alphas[path.timesteps_B_S[i, s]]), int(path.prev_timesteps_B_S[i, s])
        b = float(alphas[prev]) if prev >= 0 else 1.0
        std = SAMPLER.eta * math.sqrt((1 - b) / (1 - a) * (1 - a / b))
        before = path.latents_B_S_C_H_W[i, s].flatten().tolist()
        after = path.next_latents_B_S_C_H_W[i, s].flatten().tolist()
        gaps = []
        for x, action in zip(before, after, strict=True):
            densities = []
            for noise in (slope * x + offset, 0.0):
                clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
                mean = math.sqrt(b) * clean + math.sqrt(1 - b - std**2) * noise
                densities.append(normal_log_density(action, mean, std))
            gaps.append(densities[0] - densities[1])
        found[i, s] = np.mean(gaps)
    return found


@pytest.mark.parametrize("clip", [0.9, 0.1])
@pytest.mark.parametrize("microbatch", [1, 4, 6])
def test_gradient_against_finite_differences(
    line_model: Callable[..., Any], clip: float, microbatch: int
) -> None:
    """At weights off the base, with none and with some of the ratios clipped."""
    model = line_model(0.1, -0.05)
    given = play(model)
    settings = replace(SETTINGS, clip_range=clip, beta=2.0, microbatch=microbatch)
    update = d3po(settings, SAMPLER, model)
    pairs = pairs_of(update, given).tolist()
    [got], metrics = update.gradients(given)

    def loss(slope: float, offset: float) -> float:
        ratios = np.exp(np.minimum(log_ratios(model, given.round.batch, slope, offset), 50))
        cut = np.log(np.clip(ratios, 1 - clip, 1 + clip))
        gaps = np.array([cut[better] - cut[worse] for better, worse in pairs])
        return float(np.mean(-np.log(1 / (1 + np.exp(-2.0 * gaps)))))

    h = 1e-6
    want = [
        (loss(0.1 + h, -0.05) - loss(0.1 - h, -0.05)) / (2 * h),
        (loss(0.1, -0.05 + h) - loss(0.1, -0.05 - h)) / (2 * h),
    ]
    assert got == pytest.approx(want, rel=1e-5, abs=1e-8)
    assert max(map(abs, want)) > 1e-3
    assert metrics["loss"] == pytest.approx(loss(0.1, -0.05))


def test_pairs_are_a_good_and_a_bad_one(line_model: Callable[..., Any]) -> None:
    """Never the unlabelled; a part of them each optimizer step."""
    update = d3po(replace(SETTINGS, pairs=200), SAMPLER, line_model(0.0, 0.0))
    given = play(update.model)
    goods, bads = pairs_of(update, given).T.tolist()
    assert len(goods) == 200 and set(goods) == {0, 3} and set(bads) == {1, 4, 5}
    few = d3po(replace(SETTINGS, pairs=5, pairs_per_update=2), SAMPLER, line_model(0.0, 0.0))
    seen: list[tuple[int, int]] = []
    assert few.learn(given, lambda *at: seen.append(at))["optimizer_steps"] == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_pairs_share_their_initial_noise(line_model: Callable[..., Any]) -> None:
    """As the official code's groups of 7 do; a group of one kind makes no pair."""
    assert D3poSettings().images_per_noise == 7
    update = d3po(replace(SETTINGS, pairs=200, images_per_noise=2), SAMPLER, line_model(0.0, 0.0))
    pairs = {tuple(pair) for pair in pairs_of(update, play(update.model)).tolist()}
    assert pairs == {(0, 1)}
    apart = play(update.model, (True, True, False, False))
    assert "no noise has both a good and a bad picture" in update.why_not(apart)
    noises = torch.arange(5.0)[:, None]
    assert shared_noises(noises, 2).flatten().tolist() == [0, 0, 2, 2, 4]


@pytest.mark.parametrize(("good", "said"), [((True, None), "bad"), ((False, None), "good")])
def test_one_kind_of_label_makes_no_pair(
    line_model: Callable[..., Any], good: tuple[bool | None, ...], said: str
) -> None:
    update = d3po(SETTINGS, SAMPLER, line_model(0.0, 0.0))
    given = play(update.model, good)
    assert update.why_not(given) == f"no picture is {said}, so there are no pairs"
    assert update.why_not(play(update.model)) == ""


def test_eta_zero_is_refused(line_model: Callable[..., Any]) -> None:
    with pytest.raises(HeroError, match="eta"):
        d3po(SETTINGS, SamplerSettings(eta=0), line_model(0.0, 0.0))


def test_moves_towards_what_is_preferred(bell_model: Any) -> None:
    """Pictures are a bell around 0; those above the median are good. The clip keeps it near."""
    settings = D3poSettings(
        pairs=64,
        pairs_per_update=16,
        microbatch=16,
        learning_rate=0.02,
        beta=5.0,
        images_per_noise=1,
    )
    update = d3po(settings, SAMPLER, bell_model)
    batch = play(bell_model, (True,) * 32, (1, 1, 1)).round.batch
    value = batch.latents_B_C_H_W.flatten()
    given = feedback_on(batch, tuple((value > value.median()).tolist()))
    losses = [update.learn(given)["loss"] for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]
    assert 0.02 < float(bell_model.offset.detach()) < 0.2


def test_resumes_exactly_and_stops(square: Model) -> None:
    """A real UNet with LoRA, guidance as in sampling."""
    given = play(square, (True, False, True), square.latent_shape)
    settings = replace(SETTINGS, pairs=3, pairs_per_update=1, learning_rate=1e-3)
    update = d3po(settings, SAMPLER, square)
    update.learn(given)
    lora, optimizer = square.lora_state(), update.state_dict()
    update.learn(given)
    straight = square.lora_state()

    def stop(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise StopRequested

    with pytest.raises(StopRequested):
        update.learn(given, stop)
    square.load_lora_state(lora)
    fresh = d3po(settings, SAMPLER, square)
    fresh.load_state_dict(optimizer)
    fresh.learn(given)
    assert all(torch.equal(straight[name], w) for name, w in square.lora_state().items())
