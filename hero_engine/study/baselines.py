"""Scores without labels: the base model with the task's prompt and with a better one.

The better prompt ("enhanced") is what a user would try before labelling. All scores use the same
noises, and the sampler of the methods that they are compared with.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from hero_engine.config.tasks import settings_for
from hero_engine.config.validation import merge
from hero_engine.evaluation.evaluate import Scorer
from hero_engine.labelling.simulated import read_annotator_model
from hero_engine.policy.noise_prior import FRESH
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.run_folder import RunDir
from hero_engine.study.plan import Baseline, Plan, sampler_text
from hero_engine.study.trial import Listener, made_with, read_figures
from hero_engine.training.trainer import Trainer


def score_baseline(plan: Plan, baseline: Baseline, listener: Listener) -> dict[str, Any]:
    """The scores of a baseline: measured once, then read."""
    if not pictures_left(plan, baseline):
        return read_figures(baseline.path)
    task, sampler = baseline.task, {"sampler": asdict(baseline.sampler)}
    settings = settings_for(task, "embedded", "embedded", merge(plan.changes, sampler))
    folder = RunDir(baseline.path.with_suffix(""), settings, task)
    wanted, trainer = read_annotator_model(plan.labeller).wanted(task), Trainer.open(settings)
    learned = trainer, trainer.initial_state()

    def score(prompt: str) -> dict[str, Any]:
        scorer = Scorer(folder, plan.images, prompt, learned=learned, wanted=wanted)
        listener.pictures(plan.images)
        return asdict(scorer.score(FRESH, base=True))

    found = {
        "task": task.name,
        "sampler": sampler_text(baseline.sampler),
        "settings": asdict(baseline.sampler),
        "images": plan.images,
        "made_with": made_with(),
        "base": score(task.prompt),
        "enhanced_prompt": task.enhanced_prompt,
        "enhanced": score(task.enhanced_prompt) if task.enhanced_prompt else None,
        "transfer": {prompt: score(prompt) for prompt in task.transfer_prompts},
    }
    baseline.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(baseline.path, json.dumps(found, indent=1))
    return found


def pictures_left(plan: Plan, baseline: Baseline) -> int:
    """How many pictures of the baseline are not sampled yet."""
    if read_figures(baseline.path).get("images") == plan.images:
        return 0
    prompts = 1 + bool(baseline.task.enhanced_prompt) + len(baseline.task.transfer_prompts)
    return plan.images * prompts
