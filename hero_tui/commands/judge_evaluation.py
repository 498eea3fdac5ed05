"""`hero eval`: success rates of the tuned model and its base."""

from __future__ import annotations

from typing import Any

from hero_engine.config.tasks import task_of_prompt
from hero_engine.core.errors import HeroError
from hero_engine.core.sanitize import sanitized
from hero_engine.evaluation.verdict import Verdict, difference_interval, verdict
from hero_engine.labelling.judge_source import JudgeSource, read_judge_source
from hero_engine.models.model_sources import find_judge
from hero_engine.storage.run_folder import RunDir
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import data_json, progress_bar, say, talk


def score(
    name: str,
    images: int,
    noise: str,
    *,
    prompt: str | None,
    as_json: bool,
    transfer: bool = False,
    judge: str | None = None,
) -> None:
    """Evaluate a run and print its scores. HeroError if no judge knows its task.

    prompt: instead of the run's. transfer: with the prompts that were kept out of the run. judge:
    one of the person's own.
    """
    if noise not in ("fresh", "guided"):
        raise HeroError(f"--noise {noise}: choose fresh or guided")
    folder = open_run(name)
    prompts = prompts_of(folder, prompt, transfer=transfer)
    if judge is not None:
        score_by_own(folder, read_judge_source(judge), images, noise, prompts, as_json=as_json)
        return
    for each in prompts:
        if each in (*folder.settings.plan.prompts, *folder.task.transfer_prompts):
            task_of_prompt(folder.task, each)  # refuses before the model is opened
    find_judge("evaluator")
    talk(f"opening {folder.settings.model}")
    from hero_engine.evaluation.evaluate import evaluate

    with progress_bar("pictures") as on_picture:
        scores = evaluate(
            folder,
            images,
            noise,  # type: ignore[arg-type]
            prompts=prompts,
            on_picture=on_picture,
        )
    found = verdict_of(scores)
    if as_json:
        data_json(scores | {"verdict": found.answer, "images_needed": found.needed})
    else:
        print_scores(scores)
        say(found.sentence())
        if prompt is None and not transfer and (unseen := len(folder.task.transfer_prompts)):
            talk(f"prompts that were not trained on: {unseen}; hero eval {name} --transfer")


def score_by_own(
    folder: RunDir,
    source: JudgeSource,
    images: int,
    noise: str,
    prompts: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Print the scores of a custom judge."""
    talk(f"opening {folder.settings.model}")
    from hero_engine.evaluation.judge_scores import judge_scores

    with progress_bar("pictures") as on_picture:
        scores = judge_scores(
            folder,
            source,
            images,
            noise,  # type: ignore[arg-type]
            prompts=prompts,
            on_picture=on_picture,
        )
    if as_json:
        data_json(scores)
        return
    for each in (*scores.get("prompts", ()), scores):
        say(f"“{each['prompt']}”, {each['n']} images each, judged by {sanitized(source.name)}")
        for name, prefix in (("tuned", ""), ("base", "base_")):
            say(f"{name:<6} {_judged(each, prefix)}")


def _judged(scores: dict[str, Any], prefix: str) -> str:
    """A model's mean score and success rate, as far as the judge gave them."""
    score, rate = scores[f"{prefix}score"], scores[f"{prefix}success_rate"]
    parts = [] if score is None else [f"score {score:.4g}"]
    if rate is not None:
        low, high = scores[f"{prefix}interval"]
        parts.append(f"success {rate:.3f} ({low:.3f} to {high:.3f})")
    return ", ".join(parts) or "no verdict"


def prompts_of(folder: RunDir, prompt: str | None, *, transfer: bool) -> tuple[str, ...]:
    """The prompts to evaluate. HeroError where none was kept out of the run."""
    if transfer and prompt is not None:
        raise HeroError("--transfer takes the prompts kept out of the run: leave --prompt out")
    if not transfer:
        return folder.settings.plan.prompts if prompt is None else (prompt,)
    if not folder.task.transfer_prompts:
        raise HeroError(
            f"{folder.path} has no prompts to measure transfer with: give one with --prompt TEXT"
        )
    return folder.task.transfer_prompts


def verdict_of(scores: dict[str, Any]) -> Verdict:
    """Whether the tuned model beats its base on these noises."""
    tuned, base = scores["success_rate"], scores["base_success_rate"]
    interval = difference_interval(tuned, scores["interval"], base, scores["base_interval"])
    return verdict(tuned - base, interval, scores["n"])


def print_scores(scores: dict[str, Any]) -> None:
    """An evaluation as text."""
    noise = scores["noise"]
    rows = [("tuned", noise, ""), ("base", noise, "base_")]
    if "base_fresh_success_rate" in scores:
        rows.append(("base", "fresh", "base_fresh_"))
    for each in scores.get("prompts", ()):
        say(
            f"“{each['prompt']}”: success {each['success_rate']:.3f}, base "
            f"{each['base_success_rate']:.3f}, {each['n']} images each"
        )
    named = scores["prompt"] if "prompts" in scores else f"“{scores['prompt']}”"
    say(f"{named}, {scores['n']} images each; 95% intervals")
    for name, noises, prefix in rows:
        low, high = scores[f"{prefix}interval"]
        of_good = scores[f"{prefix}good_diversity"]
        say(
            f"{name:<6} {noises:<7} noise: success {scores[f'{prefix}success_rate']:.3f}"
            f" ({low:.3f} to {high:.3f}), diversity {scores[f'{prefix}diversity']:.2f}"
            f" (of good images: {'-' if of_good is None else f'{of_good:.2f}'})"
            f", near-copies {scores[f'{prefix}near_copies']:.0%}"
        )
