"""Near-copies among the base's own good pictures: what perfect learning would have.

    python docs/results/base_goods.py hands safety

Samples 640 pictures of the embedded base model for each task. The first 128 good ones are compared
with each five sets of 128: the share that is closer to another good one, in pixels, than all but 1%
of the set are to another of the set. Prints JSON lines.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from hero_engine.config.tasks import load_task, settings_for
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.evaluate import (
    EVALUATION_SEED,
    evaluation_pictures,
    near_copies,
    nearest_distances,
)
from hero_engine.labelling.annotators import judged
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import SampleRequest
from hero_engine.training.trainer import Trainer

SETS, SIZE = 5, 128


def main() -> None:
    """Print the tasks' shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+")
    for name in parser.parse_args().tasks:
        print(json.dumps(shares(name)), flush=True)


def shares(name: str) -> dict[str, Any]:
    """A task's share of good pictures, and of near-copies among the good ones."""
    task = load_task(name)
    trainer = Trainer.open(settings_for(task, "embedded", "joint", {}))
    noises = FRESH.draw(
        SETS * SIZE, trainer.model.latent_shape, trainer.settings.noise, EVALUATION_SEED, 0
    )
    request = SampleRequest(EVALUATION_SEED, 0, range(SETS * SIZE), noises)
    pictures = np.concatenate([*evaluation_pictures(trainer, task.prompt, request, base=True)])
    good = Judge.open("evaluator").success(judged(task), pictures)
    nearest = nearest_distances(pictures[good][:SIZE])
    of_sets = [nearest_distances(each) for each in np.split(pictures, SETS)]
    found = [round(near_copies(nearest, each), 3) for each in of_sets]
    mean = round(sum(found) / SETS, 3)
    return {
        "task": name,
        "good": round(float(good.mean()), 3),
        "near_copies": mean,
        "by_set": found,
    }


if __name__ == "__main__":
    main()
