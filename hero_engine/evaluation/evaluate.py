"""Success rate of the fine-tuned model and of its base, on the same noises and seeds.

The second judge, the "evaluator", scores the pictures; it never gives labels. Evaluation draws
from one seed for all runs, which is larger than any run's seed may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hero_engine.config.prompts import Group
from hero_engine.config.tasks import Task, task_of_prompt
from hero_engine.core.errors import HeroError
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.intervals import wilson
from hero_engine.labelling.annotators import judged
from hero_engine.labelling.simulated import criterion
from hero_engine.models.conditioning import as_group
from hero_engine.models.grouped_conditioning import GroupedConditioning
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
    good_diversity shows a collapse. nearest: each picture's distance to the nearest other one; see
    `nearest_distances`.
    """

    rate: float
    interval: tuple[float, float]
    diversity: float
    good_diversity: float | None
    nearest: tuple[float, ...]


def evaluate(
    folder: RunDir,
    images: int,
    noise: Noise,
    *,
    prompts: Sequence[str] = (),
    on_picture: OnPicture = lambda done, total: None,
    device: str = "auto",
) -> dict[str, Any]:
    """Score the run's newest checkpoint and its base; returns what `hero eval --json` prints.

    images: pictures a model and prompt, at least 2. noise: "fresh" is standard normal, "guided" is
    the run's mixture; then the base is scored with the same guided noises and with fresh ones.
    prompts: the run's if none. Of several prompts each has its scores under "prompts", beside those
    of all. HeroError for a prompt without a judge (exit code 2) or a run without a checkpoint (exit
    code 4).
    """
    plan = folder.settings.plan
    kinds = plan.of_prompts(prompts or plan.prompts)
    for each in kinds:
        judged(scored_as(folder, each.prompt))
    _check_number(images)
    learned, total = trained(folder, device), len(kinds)
    scores = list[PromptScores]()
    for number, kind in enumerate(kinds):

        def on_some(done: int, of_prompt: int, number: int = number) -> None:
            on_picture(number * of_prompt + done, total * of_prompt)

        scorer = Scorer(folder, images, kind, on_some, learned=learned)
        scores.append(_scores(scorer, noise))
    return _in_all(noise, images, scores)


@dataclass(frozen=True)
class PromptScores:
    """The scores of a prompt by the prefix of their names in the result: "" is the tuned model."""

    prompt: str
    by_prefix: Mapping[str, Score]

    def named(self) -> dict[str, Any]:
        """The prompt and its scores, as in the result."""
        named: dict[str, Any] = {"prompt": self.prompt}
        for prefix, score in self.by_prefix.items():
            named |= _named(prefix, score, self.fresh_base)
        return named

    @property
    def fresh_base(self) -> Score:
        """The base with fresh noise."""
        return self.by_prefix.get("base_fresh_", self.by_prefix["base_"])


def _scores(scorer: Scorer, noise: Noise) -> PromptScores:
    prior = scorer.prior if noise == "guided" else FRESH
    scorer.models = 3 if noise == "guided" else 2
    found = {"": scorer.score(prior, base=False), "base_": scorer.score(prior, base=True)}
    if noise == "guided":
        found["base_fresh_"] = scorer.score(FRESH, base=True)
    return PromptScores(scorer.kind.name, found)


def _in_all(noise: Noise, images: int, scores: Sequence[PromptScores]) -> dict[str, Any]:
    """The result: of one prompt its scores, of several those of all and of each."""
    first = scores[0]
    if len(scores) == 1:
        return {"noise": noise, "prompt": first.prompt, "n": images} | first.named()
    all_scores = {
        prefix: _mean([each.by_prefix[prefix] for each in scores], images)
        for prefix in first.by_prefix
    }
    named = [each.named() for each in scores]
    copies = [name for name in named[0] if name.endswith("near_copies")]
    return {
        "noise": noise,
        "n": images * len(scores),
        **PromptScores("all prompts", all_scores).named(),
        **{name: sum(each[name] for each in named) / len(named) for name in copies},
        "prompts": [{"n": images} | each for each in named],
    }


def _mean(scores: Sequence[Score], images: int) -> Score:
    """Of all prompts: success in all, and the mean of the prompts' diversities."""
    rate = sum(each.rate for each in scores) / len(scores)
    number = images * len(scores)
    among_good = [each.good_diversity for each in scores if each.good_diversity is not None]
    return Score(
        rate,
        wilson(round(rate * number), number),
        sum(each.diversity for each in scores) / len(scores),
        sum(among_good) / len(among_good) if among_good else None,
        tuple(distance for each in scores for distance in each.nearest),
    )


def scored_as(folder: RunDir, prompt: str) -> Task:
    """The task whose judge scores a prompt; of one that the run does not have, the run's own.

    HeroError for a prompt of the run that no judge knows.
    """
    try:
        return task_of_prompt(folder.task, prompt)
    except HeroError:
        own = (*folder.settings.plan.prompts, *folder.task.transfer_prompts)
        if folder.task.judge is None or prompt in own:
            raise
        return folder.task


def _check_number(images: int) -> None:
    if images < 2:
        raise HeroError(f"--images {images}: use at least 2")


def _named(prefix: str, score: Score, fresh: Score) -> dict[str, Any]:
    """fresh: the base with fresh noise."""
    return {
        f"{prefix}success_rate": score.rate,
        f"{prefix}interval": score.interval,
        f"{prefix}diversity": score.diversity,
        f"{prefix}good_diversity": score.good_diversity,
        f"{prefix}near_copies": near_copies(score.nearest, fresh.nearest),
    }


class Scorer:
    """A run's model and the judge that scores it.

    drawn: a prompt, or a group of the run; "": the run's first prompt. learned: the run's if it
    is open; otherwise the newest checkpoint is opened. wanted: the
    attributes of a success if they differ from the task's. models: how many models will be
    scored, for the progress that on_picture(done, total) reports.
    """

    def __init__(
        self,
        folder: RunDir,
        images: int,
        drawn: str | Group = "",
        on_picture: OnPicture = lambda done, total: None,
        device: str = "auto",
        *,
        learned: tuple[Trainer, State] | None = None,
        wanted: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = as_group(drawn or folder.settings.prompt)
        task = scored_as(folder, self.kind.prompt)
        self.task = judged(task)
        _check_number(images)
        self.settings, self.images = folder.settings, images
        self.wanted = wanted or criterion(task)
        self.trainer, self.state = learned or trained(folder, device)
        self.judge = Judge.open("evaluator")
        self.models, self._scored, self._on_picture = 1, 0, on_picture

    @property
    def prior(self) -> NoisePrior:
        """The run's noise prior for this prompt; the first one's for an untrained prompt."""
        kinds = self.settings.plan.kinds
        group = kinds.index(self.kind) if self.kind in kinds else 0
        return self.state.priors.of(group)

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
            tuple(nearest_distances(pictures)),
        )

    def _pictures(self, prior: NoisePrior, base: bool) -> npt.NDArray[np.uint8]:
        model, settings = self.trainer.model, self.settings
        shape = GroupedConditioning.plain([self.kind]).latent_shape(model)
        noises = prior.draw(self.images, shape, settings.noise, EVALUATION_SEED, 0)
        request = SampleRequest(EVALUATION_SEED, 0, range(self.images), noises)
        made: list[npt.NDArray[np.uint8]] = []
        model.load_lora_state(self.state.lora)
        for pictures in evaluation_pictures(self.trainer, self.kind, request, base=base):
            made.append(pictures)
            done = self._scored * self.images + sum(map(len, made))
            self._on_picture(done, self.models * self.images)
        return np.concatenate(made)


def evaluation_pictures(
    trainer: Trainer,
    drawn: str | Group,
    request: SampleRequest,
    *,
    base: bool,
    on_images: OnImages = lambda done: None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Sample with the model as it is loaded or its base: uint8 (B, H, W, 3), a microbatch a time.

    on_images(done) is called between denoising steps and may raise.
    """
    model, settings = trainer.model, trainer.settings
    own = GroupedConditioning.plain([drawn]).model(model, 0)
    with model.base() if base else nullcontext():
        for batch in sample_batches(
            model, [drawn], settings.sampler, request, settings.microbatch, on_images
        ):
            yield own.decode(batch.latents_B_C_H_W)


def mean_distance(features_B_F: npt.NDArray[np.float32]) -> float:
    """Mean Euclidean distance between two rows."""
    return float(torch.pdist(torch.from_numpy(features_B_F).double()).mean())


def nearest_distances(pictures_B_H_W_C: npt.NDArray[np.uint8]) -> list[float]:
    """Each picture's distance to the nearest other one: root mean square over pixels, in 0..255.

    At least two pictures.
    """
    pixels = torch.from_numpy(pictures_B_H_W_C).flatten(1).float()
    distances = torch.cdist(pixels, pixels, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.fill_diagonal_(torch.inf).amin(1) / pixels.shape[1] ** 0.5
    return [round(distance, 3) for distance in nearest.tolist()]


def near_copies(nearest: Sequence[float], of_base: Sequence[float]) -> float:
    """Share of pictures that are nearer to another one than all but 1% of the base's are.

    Both from `nearest_distances`, of equally many pictures with fresh noise: the base has 0.01.
    """
    limit = float(np.quantile(of_base, 0.01))
    return sum(distance < limit for distance in nearest) / len(nearest)
