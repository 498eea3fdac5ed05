"""What a task comes to without a single label: lines to compare the methods with.

The base with the task's prompt, with the prompt that a user would try first instead of labelling
("enhanced"), and with the prompts that transfer is measured on. All on the same noises,
with the sampler of the methods that they are compared with.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from hero_engine.config.tasks import settings_for
from hero_engine.config.validation import merge
from hero_engine.evaluation.evaluate import Exam
from hero_engine.labelling.simulated import read_habits
from hero_engine.policy.noise_prior import FRESH
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.run_folder import RunDir
from hero_engine.study.cell import Watch, made_with, read_figures
from hero_engine.study.plan import Line, Plan
from hero_engine.training.state import Learner


def lines_of(plan: Plan, line: Line, watch: Watch) -> dict[str, Any]:
    """The line's figures; made once and then read back."""
    if not line_pictures(plan, line):
        return read_figures(line.path)
    task, sampler = line.task, {"sampler": asdict(line.sampler)}
    settings = settings_for(task, "embedded", "embedded", merge(plan.changes, sampler))
    folder = RunDir(line.path.with_suffix(""), settings, task)
    wanted, learner = read_habits(plan.labeller).wanted(task), Learner.open(settings)

    def score(prompt: str) -> dict[str, Any]:
        exam = Exam(folder, plan.images, prompt, learner=learner, wanted=wanted)
        watch.pictures(plan.images)
        return asdict(exam.score(FRESH, base=True))

    found = {
        "task": task.name,
        "sampler": line.told,
        "settings": asdict(line.sampler),
        "images": plan.images,
        "made_with": made_with(),
        "base": score(task.prompt),
        "enhanced_prompt": task.enhanced_prompt,
        "enhanced": score(task.enhanced_prompt) if task.enhanced_prompt else None,
        "transfer": {prompt: score(prompt) for prompt in task.transfer_prompts},
    }
    line.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(line.path, json.dumps(found, indent=1))
    return found


def line_pictures(plan: Plan, line: Line) -> int:
    """Pictures that the line still takes."""
    if read_figures(line.path).get("images") == plan.images:
        return 0
    return plan.images * (1 + bool(line.task.enhanced_prompt) + len(line.task.transfer_prompts))
