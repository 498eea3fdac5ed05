"""Draw a contact sheet of a run: pictures of its base beside those of its newest checkpoint.

    python docs/results/contact_sheet.py RUN sheet.png

The base's 24 pictures are on the left and the fine-tuned model's on the right, from the same fresh
noises in the same order: the first 24 that `hero eval` scores. None is chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hero_engine.evaluation.evaluate import EVALUATION_SEED, evaluation_pictures
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import SampleRequest
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import trained

COLUMNS, ROWS = 6, 4
GAP = 16
"""Pixels between the two halves."""

Pictures = npt.NDArray[np.uint8]


def main() -> None:
    """Draw the sheet of the run on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("sheet", type=Path)
    options = parser.parse_args()
    halves = [tiled(each) for each in pictures_of(RunDir.open(options.run))]
    gap = np.full((len(halves[0]), GAP, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([halves[0], gap, halves[1]], 1)).save(options.sheet)


def pictures_of(folder: RunDir) -> tuple[Pictures, Pictures]:
    """The base's pictures and the fine-tuned model's: uint8 (B, H, W, 3)."""
    trainer, state = trained(folder, "cpu")
    count, shape = COLUMNS * ROWS, trainer.model.latent_shape
    noises = FRESH.draw(count, shape, folder.settings.noise, EVALUATION_SEED, 0)
    request = SampleRequest(EVALUATION_SEED, 0, range(count), noises)
    trainer.model.load_lora_state(state.lora)
    prompt = folder.settings.prompt
    base, tuned = (
        np.concatenate([*evaluation_pictures(trainer, prompt, request, base=base)])
        for base in (True, False)
    )
    return base, tuned


def tiled(pictures: Pictures) -> Pictures:
    """Pictures as one, row by row."""
    _, height, width, _ = pictures.shape
    rows = pictures.reshape(ROWS, COLUMNS, height, width, 3).transpose(0, 2, 1, 3, 4)
    return rows.reshape(ROWS * height, COLUMNS * width, 3)


if __name__ == "__main__":
    main()
