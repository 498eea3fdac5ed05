"""Success rate of the fine-tuned model and of its base, on the same noises and seeds.

The second judge, the "evaluator", scores the pictures; it never gives labels. Evaluation draws
from one seed for all runs, which is larger than any run's seed may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hero_engine.core.errors import HeroError
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.intervals import wilson
from hero_engine.labelling.annotators import judged
from hero_engine.labelling.simulated import criterion
from hero_engine.policy.noise_prior import FRESH, NoisePrior
from hero_engine.policy.sampler import OnImages, SampleRequest, sample_batches
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer, trained

EVALUATION_SEED = 2**31
"""One more than the largest seed of a run."""

Noise = Literal["fresh", "guided"]
OnPicture = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """The score of one model on one set of noises.

    rate: success in 0..1; interval: Wilson's, 95%; diversity: mean Euclidean distance between two
    pictures, in the judge's features; good_diversity: the same between two successes, None for
    fewer than two. Failures differ more than successes do, so diversity falls as success rises;
    good_diversity shows a collapse.
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
    """Score the run's newest checkpoint and its base; returns what `hero eval --json` prints.

    images: pictures a model, at least 2. noise: "fresh" is standard normal, "guided" is the run's
    mixture; then the base is scored with the same guided noises and with fresh ones. prompt: the
    run's if None. HeroError for a task without a judge (exit code 2) or a run without a checkpoint
    (exit code 4).
    """
    scorer = Scorer(folder, images, prompt, on_picture, device)
    prior = scorer.state.prior if noise == "guided" else FRESH
    scorer.models = 3 if noise == "guided" else 2
    tuned, base = scorer.score(prior, base=False), scorer.score(prior, base=True)
    result = {
        "noise": noise,
        "prompt": scorer.prompt,
        "n": images,
        **_named("", tuned),
        **_named("base_", base),
    }
    if noise == "guided":
        result |= _named("base_fresh_", scorer.score(FRESH, base=True))
    return result


def _named(prefix: str, score: Score) -> dict[str, Any]:
    return {
        f"{prefix}success_rate": score.rate,
        f"{prefix}interval": score.interval,
        f"{prefix}diversity": score.diversity,
        f"{prefix}good_diversity": score.good_diversity,
    }


class Scorer:
    """A run's model and the judge that scores it.

    learned: the run's if it is open; otherwise the newest checkpoint is opened. wanted: the
    attributes of a success if they differ from the task's. models: how many models will be
    scored, for the progress that on_picture(done, total) reports.
    """

    def __init__(
        self,
        folder: RunDir,
        images: int,
        prompt: str | None = None,
        on_picture: OnPicture = lambda done, total: None,
        device: str = "auto",
        *,
        learned: tuple[Trainer, State] | None = None,
        wanted: Mapping[str, str] | None = None,
    ) -> None:
        self.task = judged(folder.task)
        if images < 2:
            raise HeroError(f"--images {images}: use at least 2")
        self.settings, self.images = folder.settings, images
        self.prompt = prompt or folder.settings.prompt
        self.wanted = wanted or criterion(folder.task)
        self.trainer, self.state = learned or trained(folder, device)
        self.judge = Judge.open("evaluator")
        self.models, self._scored, self._on_picture = 1, 0, on_picture

    def score(self, prior: NoisePrior, *, base: bool) -> Score:
        """Sample with the base or the fine-tuned model and score the pictures."""
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
        model, settings = self.trainer.model, self.settings
        noises = prior.draw(self.images, model.latent_shape, settings.noise, EVALUATION_SEED, 0)
        request = SampleRequest(EVALUATION_SEED, 0, range(self.images), noises)
        made: list[npt.NDArray[np.uint8]] = []
        model.load_lora_state(self.state.lora)
        for pictures in evaluation_pictures(self.trainer, self.prompt, request, base=base):
            made.append(pictures)
            done = self._scored * self.images + sum(map(len, made))
            self._on_picture(done, self.models * self.images)
        return np.concatenate(made)


def evaluation_pictures(
    trainer: Trainer,
    prompt: str,
    request: SampleRequest,
    *,
    base: bool,
    on_images: OnImages = lambda done: None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Sample with the model as it is loaded or its base: uint8 (B, H, W, 3), a microbatch a time.

    on_images(done) is called between denoising steps and may raise.
    """
    model, settings = trainer.model, trainer.settings
    with model.base() if base else nullcontext():
        for batch in sample_batches(
            model, prompt, settings.sampler, request, settings.microbatch, on_images
        ):
            yield model.decode(batch.latents_B_C_H_W)


def mean_distance(features_B_F: npt.NDArray[np.float32]) -> float:
    """Mean Euclidean distance between two rows."""
    return float(torch.pdist(torch.from_numpy(features_B_F).double()).mean())
