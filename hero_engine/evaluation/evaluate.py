"""How often the tuned model succeeds, against its base, on the same noises and the same seeds.

The pictures are scored by the second judge, the "evaluator", which never gives labels. Evaluation
draws from a seed of its own, the same for all runs and out of reach of any run's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.intervals import wilson
from hero_engine.labelling.annotators import judged
from hero_engine.labelling.simulated import criterion
from hero_engine.policy.noise_prior import FRESH, NoisePrior
from hero_engine.policy.sampler import sample
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.state import Learner

EVALUATION_SEED = 2**31
"""The first number that is too large for a run's seed."""

Noise = Literal["fresh", "guided"]
OnPicture = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """A policy on one set of noises.

    rate: share of successes, in 0..1; interval: Wilson's, 95%; diversity: mean Euclidean distance
    between the pictures of a pair, in the judge's features; good_diversity: the same among the
    successes alone, None for fewer than two. Failures differ from each other more than successes
    do, so diversity falls as success rises; a collapse shows in good_diversity.
    """

    rate: float
    interval: tuple[float, float]
    diversity: float
    good_diversity: float | None


def evaluate(
    folder: RunDir,
    images: int,
    noise: Noise,
    *,
    prompt: str | None = None,
    on_picture: OnPicture = lambda done, total: None,
    device: str = "auto",
) -> dict[str, Any]:
    """The scores of the run's newest checkpoint and of its base, as `hero eval --json` prints them.

    images: pictures a policy, at least 2. noise: standard normal, or from the run's mixture; then
    the base is scored with the very same noises, and once more with fresh ones. prompt: another
    one than the run's, to see what transfers. HeroError without a judge (2) or a checkpoint (4).
    """
    exam = Exam(folder, images, prompt, on_picture, device)
    prior = exam.learner.prior if noise == "guided" else FRESH
    exam.rounds = 3 if noise == "guided" else 2
    tuned, base = exam.score(prior, base=False), exam.score(prior, base=True)
    result = {
        "noise": noise,
        "prompt": exam.prompt,
        "n": images,
        **_named("", tuned),
        **_named("base_", base),
    }
    if noise == "guided":
        result |= _named("base_fresh_", exam.score(FRESH, base=True))
    return result


def _named(prefix: str, score: Score) -> dict[str, Any]:
    return {
        f"{prefix}success_rate": score.rate,
        f"{prefix}interval": score.interval,
        f"{prefix}diversity": score.diversity,
        f"{prefix}good_diversity": score.good_diversity,
    }


class Exam:
    """A run's model and the judge that scores it; `rounds` policies will be scored in all.

    learner: the run's, where it is open already; else its newest checkpoint is opened. wanted:
    the attributes that make a success, where they are others than the task's.
    """

    def __init__(
        self,
        folder: RunDir,
        images: int,
        prompt: str | None = None,
        on_picture: OnPicture = lambda done, total: None,
        device: str = "auto",
        *,
        learner: Learner | None = None,
        wanted: Mapping[str, str] | None = None,
    ) -> None:
        self.task = judged(folder.task)
        if images < 2:
            raise HeroError(f"--images {images}: at least 2 are needed")
        self.settings, self.images = folder.settings, images
        self.prompt = prompt or folder.settings.prompt
        self.wanted = wanted or criterion(folder.task)
        self.learner = learner or trained(folder, device)
        self.judge = Judge.open("evaluator")
        self.rounds, self._scored, self._on_picture = 1, 0, on_picture

    def score(self, prior: NoisePrior, *, base: bool) -> Score:
        """Sample with the base or the tuned model, and let the judge say."""
        pictures = self._pictures(prior, base)
        good, features = (
            self.judge.success(self.task, pictures, self.wanted),
            self.judge.features(pictures),
        )
        successes = int(good.sum())
        self._scored += 1
        return Score(
            successes / self.images,
            wilson(successes, self.images),
            mean_distance(features),
            mean_distance(features[good]) if successes > 1 else None,
        )

    def _pictures(self, prior: NoisePrior, base: bool) -> npt.NDArray[np.uint8]:
        settings, shape = self.settings, self.learner.model.latent_shape
        noises = prior.draw(self.images, shape, settings.noise, EVALUATION_SEED, 0)
        made: list[npt.NDArray[np.uint8]] = []
        for first in range(0, self.images, settings.microbatch):
            rows = noises[first : first + settings.microbatch]
            made.append(draw(self.learner, self.prompt, rows, first, base=base))
            done = self._scored * self.images + first + len(rows)
            self._on_picture(done, self.rounds * self.images)
        return np.concatenate(made)


def draw(
    learner: Learner,
    prompt: str,
    noises_B_C_H_W: Tensor,
    first_index: int,
    *,
    base: bool,
    on_step: OnPicture | None = None,
) -> npt.NDArray[np.uint8]:
    """Evaluation's pictures from these noises, (B, H, W, 3), by the tuned model or by its base.

    first_index: of the first picture. on_step(done, total) may raise, between denoising steps.
    """
    with learner.model.base() if base else nullcontext():
        batch = sample(
            learner.model,
            prompt,
            noises_B_C_H_W,
            learner.settings.sampler,
            seed=EVALUATION_SEED,
            round=0,
            first_index=first_index,
            on_step=on_step,
        )
    return learner.model.decode(batch.latents_B_C_H_W)


def trained(folder: RunDir, device: str = "auto") -> Learner:
    """What the run has learned up to its newest checkpoint. HeroError, 4, where there is none."""
    found = folder.load_checkpoint()
    if found is None:
        raise HeroError(f"{folder.path} has not finished a round yet", exit_code=ExitCode.RUN)
    learner = Learner.open(folder.settings, device)
    learner.restore(found[0])
    return learner


def mean_distance(features_B_F: npt.NDArray[np.float32]) -> float:
    """Mean Euclidean distance over all pairs of rows."""
    return float(torch.pdist(torch.from_numpy(features_B_F).double()).mean())
