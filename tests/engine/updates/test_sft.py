"""Supervised fine-tuning: the plain denoising loss by hand, on good pictures and no others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from students import Student, feedback_on, numbers_as_latents

from hero_engine.config.update_settings import SftSettings
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.updates import Feedback
from hero_engine.updates.sft import SftUpdate

SETTINGS = SftSettings(steps=1, images_per_update=6, learning_rate=1e-3)


def pictures(*values: tuple[float, bool | None], before: LabelledLatents | None = None) -> Feedback:
    latents = torch.tensor([[value] for value, _ in values], dtype=torch.float64)
    batch = numbers_as_latents(latents.view(-1, 1, 1, 1))
    return feedback_on(batch, tuple(good for _, good in values), before=before)


def sft(settings: SftSettings, model: Any) -> Student:
    return Student(SftUpdate(settings, model, "a"))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_gradient_is_that_of_the_denoising_loss(line_model: Callable[..., Any], kind: str) -> None:
    """Of mean |slope x + offset - target|^2, in closed form, on the x_t the update drew."""
    model = line_model(0.4, -0.2, kind=kind)
    update, asked = sft(SETTINGS, model), []
    predict = model.predict

    def listen(latents: torch.Tensor, timesteps: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append((latents.flatten().numpy(), timesteps))
        return predict(latents, timesteps, *rest)

    model.predict = listen
    [got], _ = update.gradients(pictures((1.2, True), (-0.8, False), (5.0, None)))
    (x, timesteps), a = asked[1], None  # the probe is first
    a = model.scheduler.alphas_cumprod.double()[timesteps].numpy()
    noise = (x - np.sqrt(a) * 1.2) / np.sqrt(1 - a)
    target = noise if kind == "epsilon" else np.sqrt(a) * noise - np.sqrt(1 - a) * 1.2
    error = 0.4 * x - 0.2 - target
    assert len(x) == 6
    assert got == pytest.approx([np.mean(2 * error * x), np.mean(2 * error)])
    assert len(asked) == 3  # the model once, between two looks of the probe


def test_without_a_good_picture_there_is_nothing_to_learn(line_model: Callable[..., Any]) -> None:
    update = sft(SETTINGS, line_model(0.0, 0.0))
    bad = pictures((1.0, False), (2.0, None))
    assert update.why_not(bad) == "no picture is good"
    assert update.why_not(pictures((1.0, True))) == ""


@pytest.mark.parametrize(("history", "goods"), [("all", 3), ("round", 1)])
def test_history(line_model: Callable[..., Any], history: Any, goods: int) -> None:
    before = pictures((1.0, True), (2.0, True)).memory
    both = pictures((3.0, True), (4.0, False), before=before)
    update = sft(replace(SETTINGS, history=history), line_model(0.0, 0.0))
    metrics = update.learn(both)
    assert (metrics["goods"], metrics["bads"]) == (goods, 0)


def test_ends_at_the_mean_of_the_goods(bell_model: Any) -> None:
    settings = SftSettings(
        steps=300, images_per_update=32, learning_rate=0.01, weight_decay=0, betas=(0.9, 0.99)
    )
    values = [(value, True) for value in (0.5, 0.7, 0.9)] + [(-0.4, False)]
    sft(settings, bell_model).learn(pictures(*values))
    assert float(bell_model.offset.detach()) == pytest.approx(0.7, abs=0.06)
