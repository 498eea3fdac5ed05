"""Measure the shipped model: base success of each task, and a sheet to check the judge by eye.

::

    python -m hero_engine.embedded.training_scripts.measure --images 256 --sheet hands.png

Prints base success with the preset's sampler and fresh noise by both judges, and how often they
agree. The sheet shows 64 generated hands with the labeller's reading.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import list_tasks, settings_for
from hero_engine.embedded import drawing
from hero_engine.embedded.judge import ImageArray, Judge
from hero_engine.evaluation.evaluate import EVALUATION_SEED, mean_distance
from hero_engine.evaluation.intervals import wilson
from hero_engine.models.open_model import open_model
from hero_engine.models.pipeline import Model
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import SampleRequest, sample_batches

SHEET = 64


def pictures_of(model: Model, settings: Settings, prompt: str, count: int) -> ImageArray:
    """Pictures uint8 (count, H, W, 3) from fresh noise, the same noise for every prompt."""

    noises = FRESH.draw(count, model.latent_shape, settings.noise, EVALUATION_SEED, 1)
    request = SampleRequest(EVALUATION_SEED, 1, range(count), noises)
    batches = sample_batches(model, prompt, settings.sampler, request, settings.microbatch)
    return np.concatenate([model.decode(batch.latents_B_C_H_W) for batch in batches])


def sheet_of(judge: Judge, pictures: ImageArray) -> Image.Image:
    """Hands with the judge's reading under each."""
    shown = [
        drawing.Drawing(
            Image.fromarray(picture), reading_of(number, seen), "hands", seen,
            drawing.is_success("hands", seen),
        )
        for number, (picture, seen) in enumerate(
            zip(pictures, judge.attributes("hands", pictures), strict=True), start=1
        )
    ]  # fmt: skip
    return drawing.contact_sheet(shown, 8, captions=True)


def reading_of(number: int, seen: dict[str, str]) -> str:
    """Caption: the picture's number and the judge's reading."""
    words = "GOOD" if drawing.is_success("hands", seen) else "bad " + " ".join(seen.values())
    return f"{number} {words}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256, help="pictures a task")
    parser.add_argument("--sheet", type=Path, help="where the sheet of hands goes")
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in list_tasks()])
    args = parser.parse_args()
    labeller, evaluator = Judge.open("labeller"), Judge.open("evaluator")
    model: Model | None = None
    for task in list_tasks():
        if task.name not in args.tasks:
            continue
        settings = settings_for(task, "embedded")
        model = model or open_model(settings.model, settings.lora, seed=0)
        pictures = pictures_of(model, settings, task.prompt, args.images)
        ours, theirs = (j.success(task.name, pictures) for j in (labeller, evaluator))
        low, high = wilson(int(theirs.sum()), args.images)
        print(
            f"{task.name:<10} success {theirs.mean():.3f} ({low:.3f} to {high:.3f}), labeller "
            f"{ours.mean():.3f}, judges agree {(ours == theirs).mean():.3f}, diversity "
            f"{mean_distance(evaluator.features(pictures)):.2f}; guidance "
            f"{settings.sampler.guidance}, eta {settings.sampler.eta}, "
            f"{settings.sampler.steps} steps",
            flush=True,
        )
        if task.name == "hands" and args.sheet is not None:
            sheet_of(labeller, pictures[:SHEET]).save(args.sheet)


if __name__ == "__main__":
    main()
