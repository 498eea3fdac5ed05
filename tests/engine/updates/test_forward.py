"""The forward-process update: its loss by hand, one-sided rounds, and that it learns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from students import Student, feedback_on, numbers_as_latents

from hero_engine.config.settings import SamplerSettings
from hero_engine.config.update_settings import ForwardSettings
from hero_engine.core.errors import StopRequested
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import SampleRequest, sample
from hero_engine.updates import Feedback, PseudoLabelled
from hero_engine.updates.forward import ForwardUpdate
from hero_engine.updates.label_pool import Pool, label_pool
from hero_engine.updates.reference_policy import with_weights

SETTINGS = ForwardSettings(
    steps=3, good_images_per_update=4, bad_images_per_update=4, learning_rate=1e-3
)
SETTLING = ForwardSettings(
    good_images_per_update=32, bad_images_per_update=32, weight_decay=0, betas=(0.9, 0.99)
)
"""For an update that comes to its minimum."""


def labelled(
    latents: torch.Tensor,
    good: list[bool | None],
    round: int = 0,
    before: LabelledLatents | None = None,
) -> Feedback:
    return feedback_on(numbers_as_latents(latents), good, round=round, before=before)


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


def forward(settings: ForwardSettings, model: Any) -> Student:
    return Student(ForwardUpdate(settings, model, "a"))


def pool_of(settings: ForwardSettings, given: Feedback) -> Pool:
    """Also of labels that give no signal."""
    return label_pool(given, settings.history, assume_negatives=settings.assume_unlabelled_bad)


def captured(update: Student, given: Feedback) -> tuple[list[Any], list[float]]:
    """What the model was asked, in order, and the gradients of the first optimizer step."""
    asked: list[Any] = []
    gradients: list[list[float]] = []
    predict = update.model.predict

    def listen(latents: torch.Tensor, timesteps: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append((latents.clone(), timesteps.clone(), rest))
        return predict(latents, timesteps, *rest)

    def record() -> float:
        gradients.append([float(weight.grad) for weight in update.adam.weights])
        return 0.0

    update.model.predict = listen
    update.adam.step = record  # type: ignore[method-assign]
    pool = pool_of(update.update.settings, given)
    update.take(pool, given.round.batch)
    return asked, gradients[0]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("space", ["prediction", "x0", "x0_normalised"])
@pytest.mark.parametrize(("beta", "pull"), [(1.0, 0.0), (0.3, 0.0), (0.3, 0.6)])
def test_gradient_against_finite_differences(
    line_model: Callable[..., Any], kind: str, space: Any, beta: float, pull: float
) -> None:
    """The loss in numpy, on the (x_t, t) the update drew; two latents, so that x_0 is known."""
    model = line_model(0.4, -0.2, kind=kind)
    settings = replace(SETTINGS, steps=1, beta=beta, kl_weight=pull, bad_weight=0.7, loss=space)
    given = labelled(numbers(1.2, -0.8), [True, False])
    asked, got = captured(forward(settings, model), given)
    x_t, timesteps, rest = asked[1]  # the probe, then old (base), then new
    assert torch.equal(asked[2][0], x_t) and len(rest) == 1  # the same rows; no guidance
    x, a = x_t.flatten().numpy(), model.scheduler.alphas_cumprod.double()[timesteps].numpy()
    clean = np.array([1.2] * 4 + [-0.8] * 4)
    noise = (x - np.sqrt(a) * clean) / np.sqrt(1 - a)
    target = noise if kind == "epsilon" else np.sqrt(a) * noise - np.sqrt(1 - a) * clean
    good = np.arange(8) < 4

    def errors(slope: float, offset: float) -> Any:
        new, old = slope * x + offset, np.zeros(8)
        branch = np.where(good, (1 - beta) * old + beta * new, (1 + beta) * old - beta * new)
        if space == "prediction":
            return branch - target
        if kind == "epsilon":
            return (x - np.sqrt(1 - a) * branch) / np.sqrt(a) - clean
        return np.sqrt(a) * x - np.sqrt(1 - a) * branch - clean

    sizes = np.abs(errors(0.4, -0.2)) if space == "x0_normalised" else 1.0

    def loss(slope: float, offset: float) -> float:
        contrast = np.where(good, 1, 0.7) * errors(slope, offset) ** 2 / sizes
        return float(np.mean(contrast) + pull * np.mean((slope * x + offset) ** 2))

    h = 1e-6
    want = [
        (loss(0.4 + h, -0.2) - loss(0.4 - h, -0.2)) / (2 * h),
        (loss(0.4, -0.2 + h) - loss(0.4, -0.2 - h)) / (2 * h),
    ]
    assert got == pytest.approx(want, rel=1e-5)


def test_noised_as_the_schedule_says(line_model: Callable[..., Any]) -> None:
    """x_t - sqrt(a) x_0 over sqrt(1 - a) is standard normal; timesteps cover their part evenly."""
    model = line_model(0.0, 0.0)
    settings = replace(
        SETTINGS,
        steps=1,
        good_images_per_update=2000,
        bad_images_per_update=1,
        timesteps=(0.2, 0.6),
    )
    given = labelled(numbers(3.0, -3.0), [True, False])
    asked, _ = captured(forward(settings, model), given)
    x_t, timesteps, _ = asked[1]
    alpha = model.scheduler.alphas_cumprod.double()[timesteps[:2000]]
    noise = (x_t[:2000].flatten() - alpha.sqrt() * 3.0) / (1 - alpha).sqrt()
    assert abs(float(noise.mean())) < 0.08
    assert abs(float(noise.std()) - 1) < 0.06
    counts = torch.histc(timesteps[:2000].double(), 4, 200, 600)
    assert counts.tolist() == [500] * 4
    assert int(timesteps.min()) >= 200 and int(timesteps.max()) < 600


def test_reference_round_is_the_policy_at_its_start(square: Model) -> None:
    """`old` stays what it was while the weights move, and is not the base."""
    for weight in square.lora_parameters():
        weight.data = 0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    settings = replace(SETTINGS, steps=2, old_policy="round", learning_rate=0.05)
    update = forward(settings, square)
    latents = torch.randn(4, 4, 8, 8)
    probe = torch.randn(2, 4, 8, 8), torch.tensor([500, 100]), Conditioning("a")
    start = [weight.detach().clone() for weight in square.lora_parameters()]
    before = square.predict(*probe).detach()
    update.learn(labelled(latents, [True, False, True, False]))
    moved = square.predict(*probe).detach()
    assert not torch.allclose(moved, before, atol=1e-3)
    with torch.no_grad(), with_weights(square.lora_parameters(), start):
        assert torch.equal(square.predict(*probe), before)
    assert torch.equal(square.predict(*probe).detach(), moved)
    with square.base(), torch.no_grad():
        assert not torch.allclose(square.predict(*probe), before, atol=1e-3)


@pytest.mark.parametrize(
    ("good", "rows", "why_not"),
    [
        ([True, True, True], 4, ""),
        ([True, True, None], 8, ""),
        ([False, None, None], 4, "no picture is good, so there is no direction to learn"),
        ([True, False, None], 8, ""),
    ],
)
def test_one_sided_rounds_are_legal(
    line_model: Callable[..., Any], good: list[bool | None], rows: int, why_not: str
) -> None:
    model = line_model(0.1, 0.1)
    update, given = forward(SETTINGS, model), labelled(numbers(1, 2, 3), good)
    assert update.why_not(given) == why_not
    asked, gradient = captured(update, given)
    assert len(asked[1][0]) == rows
    assert max(map(abs, gradient)) > 0


def test_goods_pull_and_bads_push(line_model: Callable[..., Any]) -> None:
    """One good picture at +2, or one bad: the offset's gradient points the other way."""
    gradients = []
    for good in (True, False):
        update = forward(SETTINGS, line_model(0.0, 0.0))
        gradients.append(captured(update, labelled(numbers(2.0), [good]))[1][1])
    assert gradients[0] == pytest.approx(-gradients[1], rel=1e-6)
    assert abs(gradients[0]) > 1e-3


def test_no_label_no_signal(line_model: Callable[..., Any]) -> None:
    update = forward(SETTINGS, line_model(0.0, 0.0))
    nothing = labelled(numbers(1, 2), [None, None])
    assert update.why_not(nothing) == "no picture is labelled"


def test_history(line_model: Callable[..., Any]) -> None:
    """All labels so far, or this round's only."""
    old = labelled(numbers(5.0, 6.0), [True, False])
    both = labelled(numbers(1.0, 2.0), [True, None], before=old.memory)
    everything = forward(replace(SETTINGS, history="all"), line_model(0.0, 0.0))
    this_round = forward(replace(SETTINGS, history="round"), line_model(0.0, 0.0))
    assert [everything.learn(both)[kind] for kind in ("goods", "bads")] == [2, 1]
    assert [this_round.learn(both)[kind] for kind in ("goods", "bads")] == [1, 0]
    assert "assumed_negatives" not in everything.learn(both)  # an earlier round's bad one is known
    assert this_round.learn(both)["assumed_negatives"] == 1


def test_unlabelled_pictures_count_as_bad_if_none_is_labelled_bad(bell_model: Any) -> None:
    """Goods of mean 0.8, the others as the policy makes them, of mean 0.2: it goes half of the way
    to where goods come from. Exactly what it does when they are labelled bad, but for the count."""
    own: dict[str, Any] = {"old_policy": "round", "history": "round"}
    settings = replace(SETTLING, steps=400, learning_rate=0.01, **own)
    latents, goods = numbers(0.7, 0.9, -0.6, 0.2, 1.0), [True, True]
    ends, counts = [], []
    for others in ([None] * 3, [False] * 3):
        bell_model.offset.data.fill_(0.2)
        metrics = forward(settings, bell_model).learn(labelled(latents, goods + others))
        ends.append(float(bell_model.offset.detach()))
        counts.append((metrics["goods"], metrics["bads"], metrics.get("assumed_negatives", 0)))
    assert ends[0] == pytest.approx((0.2 + 0.8) / 2, abs=0.06)
    assert ends[0] == ends[1]
    assert counts == [(2, 0, 3), (2, 3, 0)]


@pytest.mark.parametrize(
    ("good", "changes"),
    [
        ([True, False, None], {}),
        ([True, None, None], {"assume_unlabelled_bad": False}),
        ([None, None, None], {}),
        ([False, None, None], {}),
        ([True, True, True], {}),
    ],
)
def test_otherwise_the_unlabelled_are_left_out(
    line_model: Callable[..., Any], good: list[bool | None], changes: dict[str, Any]
) -> None:
    pool = pool_of(replace(SETTINGS, **changes), labelled(numbers(1, 2, 3), good))
    known = [each for each in good if each is not None]
    assert (pool.good_weight_N.tolist(), pool.assumed_negatives) == (known, 0)
    assert pool.latents_N_C_H_W.flatten().tolist() == [1, 2, 3][: len(known)]


def test_resumes_exactly_and_stops(square: Model) -> None:
    given = labelled(torch.randn(4, 4, 8, 8), [True, False, True, False])
    update = forward(SETTINGS, square)
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
    fresh = forward(SETTINGS, square)
    fresh.load_state_dict(optimizer)
    fresh.learn(given)
    assert all(torch.equal(straight[name], w) for name, w in square.lora_state().items())


@pytest.mark.parametrize(
    ("beta", "pull", "bad_weight"),
    [(1.0, 0.0, 1.0), (0.5, 0.0, 1.0), (1.0, 1.0, 1.0), (0.5, 0.5, 1.0), (1.0, 0.0, 0.3),
     (0.5, 0.5, 0.0)],
)  # fmt: skip
def test_base_reference_ends_at_its_closed_form(
    bell_model: Any, beta: float, pull: float, bad_weight: float
) -> None:
    """pred+ wants the mean of goods, pred- that of bads, w times as much (w: bad_weight): without
    a pull m = (goods - w bads) / ((1 + w) beta)."""
    latents = numbers(0.5, 0.7, 0.9, -0.1, 0.1, -0.3)
    settings = replace(
        SETTLING, steps=400, learning_rate=0.01, beta=beta, kl_weight=pull, bad_weight=bad_weight
    )
    update = forward(settings, bell_model)
    update.learn(labelled(latents, [True, True, True, False, False, False]))
    want = beta * (0.7 + bad_weight * 0.1) / (beta**2 * (1 + bad_weight) + 2 * pull)
    assert float(bell_model.offset.detach()) == pytest.approx(want, abs=0.06)


@pytest.mark.parametrize(("pull", "ends_at"), [(0.0, 6 * 0.4), (1.0, 0.4 * (1 - 0.5**6))])
def test_a_pull_bounds_all_rounds_together(bell_model: Any, pull: float, ends_at: float) -> None:
    """Six rounds with the round's own policy as `old`: each adds (goods - bads) / 2 = 0.4, or,
    with a pull of 1, goes half the way to 0.4."""
    own: dict[str, Any] = {"old_policy": "round", "history": "round"}
    settings = replace(SETTLING, steps=150, learning_rate=0.02, kl_weight=pull, **own)
    update = forward(settings, bell_model)
    for round in range(6):
        update.learn(labelled(numbers(0.7, -0.1), [True, False], round))
    assert float(bell_model.offset.detach()) == pytest.approx(ends_at, abs=0.08)


@pytest.mark.parametrize(("space", "times"), [("x0", 100), ("x0_normalised", 10)])
def test_outliers_weigh_no_more_if_errors_are_normalised(
    line_model: Callable[..., Any], space: Any, times: float
) -> None:
    """A bad picture ten times as far out: the plain error's gradient by the slope grows as x^2, the
    normalised one's as x, which is what the slope itself is worth there."""

    def gradient(bad: float) -> float:
        settings = replace(SETTINGS, steps=1, loss=space, timesteps=(0.2, 0.4))
        update = forward(settings, line_model(0.4, 0.0))
        return abs(captured(update, labelled(numbers(1.0, bad), [True, False]))[1][0])

    assert gradient(-1e4) / gradient(-1e3) == pytest.approx(times, rel=0.1)


@pytest.mark.parametrize(
    ("goods", "bads", "steps"), [(2, 2, 40), (3, 1, 30), (1, 3, 30), (9, 1, 14), (3, 0, 1)]
)
def test_a_round_takes_the_steps_its_contrast_is_worth(
    bell_model: Any, goods: int, bads: int, steps: int
) -> None:
    """4 p (1 - p) of 40."""
    labels = [True] * goods + [False] * bads
    settings = ForwardSettings(
        steps=40, good_images_per_update=1, bad_images_per_update=1, scale_steps_by_variance=True
    )
    seen: list[tuple[int, int]] = []
    update = forward(settings, bell_model)
    metrics = update.learn(
        labelled(numbers(*range(goods + bads)), labels), lambda *at: seen.append(at)
    )
    assert metrics["optimizer_steps"] == steps
    assert seen == [(step + 1, steps) for step in range(steps)]


def test_pseudo_labels_are_worth_steps_as_labels_are(bell_model: Any) -> None:
    """Of mean 0.9: 4 x 0.9 x 0.1 of 100."""
    settings = ForwardSettings(
        steps=100, good_images_per_update=1, bad_images_per_update=1, scale_steps_by_variance=True
    )
    given = PseudoLabelled(numbers_as_latents(numbers(1.0, 2.0)), torch.tensor([0.8, 1.0]))
    assert forward(settings, bell_model).learn(given)["optimizer_steps"] == 36


def test_finds_a_known_optimum(bell_model: Any) -> None:
    """The half of the pictures nearer to 1 is good: pictures start around 0; best is m = 1."""
    sampler = SamplerSettings(steps=10, eta=1.0, guidance=1)
    settings = ForwardSettings(
        steps=20,
        good_images_per_update=16,
        bad_images_per_update=16,
        learning_rate=0.01,
        old_policy="round",
        history="round",
    )
    update, distances = forward(settings, bell_model), []
    for round in range(12):
        random = torch.Generator().manual_seed(round)
        noises = torch.randn(64, 1, 1, 1, generator=random, dtype=torch.float64)
        request = SampleRequest(1, round, range(64), noises)
        batch = sample(bell_model, "a", sampler, request)
        distance = (batch.latents_B_C_H_W.flatten() - 1).abs()
        distances.append(float(distance.mean()))
        good = (distance < distance.median()).tolist()
        update.learn(labelled(batch.latents_B_C_H_W, good, round))
    assert distances[0] > 0.9
    assert distances[-1] < 0.45
    assert float(bell_model.offset.detach()) == pytest.approx(1, abs=0.25)


def test_goods_become_likelier_than_bads(square: Model) -> None:
    """A real UNet with LoRA: denoising the good pictures improves against the bad ones."""
    latents = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(6))
    good = [True, False] * 4
    noise = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    timesteps, prompt = torch.full((8,), 500), Conditioning("a")
    x_t = square.process.noised(latents, noise, timesteps)

    def errors() -> torch.Tensor:
        with torch.no_grad():
            return (square.predict(x_t, timesteps, prompt) - noise).square().mean((1, 2, 3))

    before = errors()
    forward(replace(SETTINGS, steps=40, learning_rate=5e-3), square).learn(labelled(latents, good))
    change = errors() - before
    assert float(change[::2].mean()) < float(change[1::2].mean()) - 1e-3
