"""How good a policy is: success by the evaluator judge, with its interval, and diversity.

The evaluator never labels, and evaluation has seeds of its own, so neither the labeller's quirks
nor pictures that were trained on can make a figure better than it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hero_engine.errors import HeroError
from hero_engine.learner import Learner
from hero_engine.noise import FRESH, NoisePrior
from hero_engine.sampler import sample

if TYPE_CHECKING:
    from hero_engine.config import Settings
    from hero_engine.embedded.judge import Judge
    from hero_engine.pipeline import Model
    from hero_engine.rundir import RunDir

Noise = Literal["fresh", "guided"]
EVALUATION_SEED = 1_000_003
"""Every evaluation draws from this seed, never from a run's: the same noises for every policy."""
Z_95 = 1.959964


@dataclass(frozen=True)
class Score:
    """Success of n pictures: the rate, its 95% Wilson interval, and the pictures' diversity.

    diversity: mean Euclidean distance between two pictures in the judge's features.
    """

    n: int
    success_rate: float
    interval: tuple[float, float]
    diversity: float


def generate(
    model: Model,
    settings: Settings,
    prompt: str,
    prior: NoisePrior,
    count: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """``count`` pictures on the evaluation's seeds, uint8 (count, H, W, 3)."""
    noises = prior.draw(count, model.latent_shape, settings.noise, EVALUATION_SEED, 0)
    pictures = []
    for first in range(0, count, settings.minibatch):
        batch = sample(
            model,
            prompt,
            noises[first : first + settings.minibatch],
            settings.sampler,
            seed=EVALUATION_SEED,
            round=0,
            first_index=first,
        )
        pictures.append(model.decode(batch.latents_B_C_H_W))
        if on_progress is not None:
            on_progress(min(first + settings.minibatch, count), count)
    return np.concatenate(pictures)


def score(judge: Judge, task: str, pictures: npt.NDArray[np.uint8]) -> Score:
    """What the judge says of the pictures."""
    good = int(judge.success(task, pictures).sum())
    features = torch.from_numpy(judge.features(pictures))
    diversity = float(torch.pdist(features).mean()) if len(pictures) > 1 else 0.0
    return Score(len(pictures), good / len(pictures), wilson(good, len(pictures)), diversity)


def wilson(good: int, n: int) -> tuple[float, float]:
    """95% interval of a rate (Wilson 1927)."""
    rate, square = good / n, Z_95**2 / n
    middle = (rate + square / 2) / (1 + square)
    half = Z_95 * math.sqrt(rate * (1 - rate) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def restored(run: RunDir, model: Model) -> Learner:
    """The run's newest learning state on a model that was opened with its settings."""
    learner = Learner(run.settings, model)
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        raise HeroError(f"{run.path} has not finished a round yet", exit_code=3)
    learner.load(checkpoint[0])
    return learner


def evaluate(
    run: RunDir,
    model: Model,
    judge: Judge,
    *,
    images: int,
    noise: Noise,
    prompt: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The tuned policy with ``noise`` against the base model with fresh noise, on common seeds.

    With guided noise the gain holds the choice of noises as well as what was learned; with fresh
    noise only the latter. HeroError where no judge knows the run's task.
    """
    if run.task.judge is None:
        raise HeroError(
            f"no judge knows the task {run.task.name!r}; hero eval needs a shipped task"
        )
    learner = restored(run, model)
    asked = prompt or run.settings.prompt
    prior = learner.prior if noise == "guided" else FRESH
    tell = on_progress or (lambda done, total: None)

    tuned = generate(
        model, run.settings, asked, prior, images, lambda done, _: tell(done, 2 * images)
    )
    with model.base():
        base = generate(
            model,
            run.settings,
            asked,
            FRESH,
            images,
            lambda done, _: tell(images + done, 2 * images),
        )
    after, before = score(judge, run.task.judge, tuned), score(judge, run.task.judge, base)
    return {
        "success_rate": after.success_rate,
        "base_success_rate": before.success_rate,
        "n": images,
        "diversity": after.diversity,
        "base_diversity": before.diversity,
        "interval": after.interval,
        "base_interval": before.interval,
        "noise": noise,
        "base_noise": "fresh",
        "prompt": asked,
        "judge": "evaluator",
    }
