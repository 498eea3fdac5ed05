"""Supervised fine-tuning: the plain denoising loss by hand, on good pictures and no others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hero_engine.config.settings import SftSettings
from hero_engine.core.batch import Batch
from hero_engine.core.labels import Labels
from hero_engine.updates import Experience, Memory
from hero_engine.updates.sft import SftUpdate

SETTINGS = SftSettings(steps=1, images_per_update=6, learning_rate=1e-3)


def experience(*pictures: tuple[float, bool | None]) -> Experience:
    latents = torch.tensor([[value] for value, _ in pictures], dtype=torch.float64)
    latents = latents.view(-1, 1, 1, 1)
    batch, labels = Batch(latents, latents), Labels(tuple(good for _, good in pictures))
    return Experience(batch, labels, None, "a", 0, 0, Memory.of_round(batch, labels))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_gradient_is_that_of_the_denoising_loss(line_model: Callable[..., Any], kind: str) -> None:
    """Of mean |slope x + offset - target|^2, in closed form, on the x_t the update drew."""
    model = line_model(0.4, -0.2, kind=kind)
    update, asked, got = SftUpdate(SETTINGS, model), [], []
    predict = model.predict

    def listen(latents: torch.Tensor, timesteps: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append((latents.flatten().numpy(), timesteps))
        return predict(latents, timesteps, *rest)

    def record() -> float:
        got.extend(float(weight.grad) for weight in update.optimizer.weights)
        return 0.0

    model.predict = listen
    update.optimizer.step = record  # type: ignore[method-assign]
    update.step(experience((1.2, True), (-0.8, False), (5.0, None)))
    (x, timesteps), a = asked[1], None  # the probe is first
    a = model.scheduler.alphas_cumprod.double()[timesteps].numpy()
    noise = (x - np.sqrt(a) * 1.2) / np.sqrt(1 - a)
    target = noise if kind == "epsilon" else np.sqrt(a) * noise - np.sqrt(1 - a) * 1.2
    error = 0.4 * x - 0.2 - target
    assert len(x) == 6
    assert got == pytest.approx([np.mean(2 * error * x), np.mean(2 * error)])
    assert len(asked) == 3  # the model once, between two looks of the probe


def test_without_a_good_picture_there_is_nothing_to_learn(line_model: Callable[..., Any]) -> None:
    update = SftUpdate(SETTINGS, line_model(0.0, 0.0))
    bad = experience((1.0, False), (2.0, None))
    assert update.signal(bad) == "no picture is good"
    with pytest.raises(ValueError, match="no picture is good"):
        update.step(bad)
    assert update.signal(experience((1.0, True))) == ""


@pytest.mark.parametrize(("history", "goods"), [("all", 3), ("round", 1)])
def test_history(line_model: Callable[..., Any], history: Any, goods: int) -> None:
    before, now = experience((1.0, True), (2.0, True)), experience((3.0, True), (4.0, False))
    both = replace(now, memory=before.memory.plus(now.memory))
    update = SftUpdate(replace(SETTINGS, history=history), line_model(0.0, 0.0))
    metrics = update.step(both)
    assert (metrics["goods"], metrics["bads"]) == (goods, 0)


def test_ends_at_the_mean_of_the_goods(bell_model: Any) -> None:
    settings = SftSettings(
        steps=300, images_per_update=32, learning_rate=0.01, weight_decay=0, betas=(0.9, 0.99)
    )
    pictures = [(value, True) for value in (0.5, 0.7, 0.9)] + [(-0.4, False)]
    SftUpdate(settings, bell_model).step(experience(*pictures))
    assert float(bell_model.offset.detach()) == pytest.approx(0.7, abs=0.06)
