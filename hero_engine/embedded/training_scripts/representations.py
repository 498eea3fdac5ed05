"""How well a representation ranks unseen pictures, by the number of labels it was trained on.

::

    python -m hero_engine.embedded.training_scripts.representations --out representations.json

A judge labels pictures of the base model from fresh noise. For each number of labels and each of
several draws, a representation is fitted to that many pictures and ranks 256 others. The figure is
the share of (good, bad) pairs in the right order, a mean over draws. The code is that of a run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task, settings_for
from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.embedded.judge import Judge
from hero_engine.evaluation.evaluate import EVALUATION_SEED
from hero_engine.labelling.simulated import criterion
from hero_engine.models.pipeline import Model
from hero_engine.policy.noise_prior import FRESH
from hero_engine.policy.sampler import SampleRequest, sample_batches
from hero_engine.reward.embedding import ranking_auc
from hero_engine.study.plan import study_task
from hero_engine.training.trainer import Trainer

UNSEEN = 256
LABELS = (32, 64, 128, 256)
POOL = 384
"""Pictures from which the labelled ones are drawn."""
AT_ONCE = 64

REPRESENTATIONS: Mapping[str, Mapping[str, Any]] = {
    "triplet, similarity to best": {},
    "triplet, probability": {"reward": {"kind": "probability"}},
    "backbone, probability": {
        "embedding": {"kind": "backbone", "history": "all"},
        "reward": {"kind": "probability"},
    },
}
"""Settings of each representation, over the preset "embedded"."""


def pictures(model: Model, settings: Settings) -> Batch:
    """Sample POOL + UNSEEN pictures of the base."""
    count = POOL + UNSEEN
    noises = FRESH.draw(count, model.latent_shape, settings.noise, EVALUATION_SEED, 3)
    request = SampleRequest(EVALUATION_SEED, 3, range(count), noises)
    batches = sample_batches(model, settings.prompt, settings.sampler, request, AT_ONCE)
    return Batch.cat(batches)


def judged(task: Task, model: Model, batch: Batch) -> tuple[list[bool], list[float]]:
    """The labeller's label of each picture and its probability of good."""
    judge, name = Judge.open("labeller"), str(task.judge)
    pieces = torch.split(batch.latents_B_C_H_W, AT_ONCE)
    seen = np.concatenate([model.decode(piece) for piece in pieces])
    wanted = criterion(task)
    good, chance = judge.success(name, seen, wanted), judge.success_probability(name, seen, wanted)
    return good.tolist(), chance.tolist()


def auc(
    settings: Settings, model: Model, batch: Batch, labels: Callable[[Tensor], Labels], rows: Tensor
) -> float | None:
    """Ranking of the pictures after POOL by a representation fitted to the labels of these rows."""
    trainer = Trainer(settings, model)
    reward_model, known = trainer.reward_model, LabelledRound(0, _rows(batch, rows), labels(rows))
    state = trainer.initial_state().with_labels(known)
    evidence = reward_model.evidence(known, state.memory, state.bests)
    triplets = reward_model.triplets(evidence)
    if triplets:
        state, _ = trainer.fit_embedding(state, triplets, 0, lambda done, total: None)
    unseen = torch.arange(POOL, POOL + UNSEEN)
    truth = torch.tensor([bool(good) for good in labels(unseen).good])
    others = _rows(batch, unseen)
    if settings.reward.kind == "best":
        rewards = reward_model.predicted_rewards(state.embedding, evidence, others)
    else:
        predict = reward_model.probability(state.embedding, evidence)
        rewards = None if predict is None else predict(others)
    return None if rewards is None else ranking_auc(rewards, truth)


def _rows(batch: Batch, rows: Tensor) -> Batch:
    return Batch(batch.noises_B_C_H_W[rows], batch.latents_B_C_H_W[rows])


def of_task(task: Task, draws: int) -> dict[str, Any]:
    """The figure of each representation by number of labels."""
    plain = settings_for(task, "embedded", "embedded")
    model = Trainer.open(plain).model
    batch = pictures(model, plain)
    good, chances = judged(task, model, batch)

    def labels(rows: Tensor) -> Labels:
        among = [good[row] for row in rows]
        likely = [chances[row] if good[row] else -1.0 for row in rows]
        best = int(np.argmax(likely)) if any(among) else None
        return Labels(tuple(among), () if best is None else (best,))

    found: dict[str, Any] = {"base": fmean(good)}
    for name, changes in REPRESENTATIONS.items():
        settings = settings_for(task, "embedded", "embedded", changes)
        found[name] = {}
        for count in LABELS:
            rows = [torch.randperm(POOL, generator=torch.Generator().manual_seed(d))[:count]
                    for d in range(draws)]  # fmt: skip
            values = [auc(settings, model, batch, labels, each) for each in rows]
            known = [value for value in values if value is not None]
            found[name][str(count)] = fmean(known) if known else None
    return found


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of a Markdown table."""
    lines = [
        f"| task (base) | representation | {' | '.join(f'{n} labels' for n in LABELS)} |",
        f"|---|---|{'---|' * len(LABELS)}",
    ]
    for task, found in results.items():
        for name in REPRESENTATIONS:
            figures = [found[name][str(n)] for n in LABELS]
            said = " | ".join("" if f is None else f"{f:.3f}" for f in figures)
            lines.append(f"| {task} ({found['base']:.2f}) | {name} | {said} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the figures (JSON) go")
    names = ["hands", "blue-rose", "black-cat", "narcissus", "mountain", "safety"]
    parser.add_argument("--tasks", nargs="+", default=names)
    parser.add_argument("--draws", type=int, default=3)
    args = parser.parse_args()
    results = {name: of_task(study_task(name), args.draws) for name in args.tasks}
    args.out.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
