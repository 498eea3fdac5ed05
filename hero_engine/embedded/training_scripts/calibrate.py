"""A short training that moves the base success of tasks to the middle of 20% to 50%.

Diffusion training does not reproduce the drawn shares exactly: before it, one black cat in ten was
in its box, and more than four hands in ten were whole. Pictures with the prompt or a paraphrase are
sampled by `ODDS`, all others as before.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from hero_engine.embedded.drawing import SUBJECTS, is_success
from hero_engine.embedded.training_scripts import common, data, unet

ODDS = {"hands": 0.55, "black-cat": 4.0, "blue-rose": 1.8}
"""Task -> factor on the odds of success among pictures with the prompt or a paraphrase."""


def weights_of(pictures: data.TrainingPictures) -> torch.Tensor:
    """Sampling weight of each picture, (N,), 1 as before; a task's total stays the same."""
    weights = torch.ones(len(pictures))
    for task, odds in ODDS.items():
        rows = [
            row
            for row, (of, caption) in enumerate(
                zip(pictures.tasks_N, pictures.captions_N, strict=True)
            )
            if of == task and caption in SUBJECTS[task].family
        ]
        success = torch.tensor([is_success(task, pictures.attributes_N[row]) for row in rows])
        wanted = torch.where(success, odds, 1.0)
        weights[rows] = wanted / wanted.mean()
    return weights


def train(work: Path, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train WORK/model further and replace it; the log is WORK/calibrate.log."""
    log = common.Log(work / "calibrate.log")
    pictures = data.load(work / "pictures.npz")
    weights = weights_of(pictures)
    pipeline = StableDiffusionPipeline.from_pretrained(work / "model", safety_checker=None)
    training = unet.Training(
        pipeline.unet, pipeline.text_encoder, pipeline.tokenizer, pictures.captions_N,
        unet.latents_in(work / "latents.safetensors"), seed, 0.99,
    )  # fmt: skip
    log(f"calibrate steps={steps} batch={batch} rate={rate} seed={seed}; odds {ODDS}")

    def choose() -> torch.Tensor:
        return torch.multinomial(weights, batch, generator=training.random)

    training.run(choose, range(steps), rate, log)
    training.average.copy_to(training.parameters)
    pipeline.save_pretrained(work / "model")


def main() -> None:
    """Command line."""
    parser = common.command_line(__doc__, steps=500, batch=64, rate=3e-4, seed=5)
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
