"""Scores of the fine-tuned model and of its base by a custom judge.

Both draw from the same noises, as in `evaluate.py`. The judge gets the pictures of both at once, in
an order and under names that do not tell whose they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hero_engine.config.prompts import Group
from hero_engine.evaluation.evaluate import EVALUATION_SEED, Noise, evaluation_pictures
from hero_engine.evaluation.intervals import wilson
from hero_engine.labelling.judge_program import Asked, ask
from hero_engine.labelling.judge_source import JudgeSource, Verdict
from hero_engine.models.grouped_conditioning import GroupedConditioning
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import SampleRequest
from hero_engine.storage.atomic_files import write_png
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer, trained

OnPicture = Callable[[int, int], None]


@dataclass(frozen=True)
class Drawn:
    """A picture to judge: its group's place, and whether the tuned model drew it."""

    path: Path
    prompt: int
    tuned: bool


def judge_scores(
    folder: RunDir,
    source: JudgeSource,
    images: int,
    noise: Noise,
    *,
    prompts: Sequence[str] = (),
    on_picture: OnPicture = lambda done, total: None,
    device: str = "auto",
) -> dict[str, Any]:
    """Have the judge score the run's newest checkpoint and its base, `images` a model and prompt.

    Returns what `hero eval --judge --json` prints. HeroError if the judge fails (exit code 3)
    or the run has no checkpoint (4).
    """
    plan = folder.settings.plan
    kinds = plan.of_prompts(prompts or plan.prompts)
    trainer, state = trained(folder, device)
    with TemporaryDirectory(prefix="hero-judge-") as temporary:
        drawn = list(_drawn(trainer, state, images, noise, kinds, Path(temporary), on_picture))
        verdicts = ask(source, [Asked(each.path, kinds[each.prompt].prompt) for each in drawn])
    labels = source.labels(verdicts, [each.prompt for each in drawn])
    judged = list(zip(drawn, verdicts, labels, strict=True))
    of_prompt = [
        {"prompt": kind.name, **_figures([each for each in judged if each[0].prompt == number])}
        for number, kind in enumerate(kinds)
    ]
    about = {"judge": source.name, "noise": noise}
    if len(kinds) == 1:
        return about | of_prompt[0]
    return about | {"prompt": "all prompts", **_figures(judged), "prompts": of_prompt}


def _drawn(
    trainer: Trainer,
    state: State,
    images: int,
    noise: Noise,
    kinds: Sequence[Group],
    folder: Path,
    on_picture: OnPicture,
) -> Iterator[Drawn]:
    """The pictures of both models, in a random order."""
    total = 2 * images * len(kinds)
    places = list(range(total))
    random.Random(EVALUATION_SEED).shuffle(places)
    found = dict[int, Drawn]()
    trainer.model.load_lora_state(state.lora)
    for number, kind in enumerate(kinds):
        request = _request(trainer, state, images, noise, kind)
        for tuned in (True, False):
            for pictures in evaluation_pictures(trainer, kind, request, base=not tuned):
                for pixels in pictures:
                    place = places[len(found)]
                    path = folder / f"{place:05}.png"
                    write_png(path, pixels)
                    found[place] = Drawn(path, number, tuned)
                on_picture(len(found), total)
    yield from (found[place] for place in range(total))


def _request(
    trainer: Trainer, state: State, images: int, noise: Noise, kind: Group
) -> SampleRequest:
    settings, kinds = trainer.settings, trainer.settings.plan.kinds
    group = kinds.index(kind) if kind in kinds else 0
    prior = state.priors.of(group) if noise == "guided" else FRESH
    shape = GroupedConditioning.plain([kind]).latent_shape(trainer.model)
    noises = prior.draw(images, shape, settings.noise, EVALUATION_SEED, 0)
    return SampleRequest(EVALUATION_SEED, 0, range(images), noises)


def _figures(judged: Sequence[tuple[Drawn, Verdict, bool | None]]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": sum(drawn.tuned for drawn, _, _ in judged)}
    for prefix, tuned in (("", True), ("base_", False)):
        own = [(verdict, label) for drawn, verdict, label in judged if drawn.tuned == tuned]
        scores = [verdict.score for verdict, _ in own if verdict.score is not None]
        labels = [label for _, label in own if label is not None]
        found |= {
            f"{prefix}score": sum(scores) / len(scores) if scores else None,
            f"{prefix}success_rate": sum(labels) / len(labels) if labels else None,
            f"{prefix}interval": wilson(sum(labels), len(labels)) if labels else None,
        }
    return found
