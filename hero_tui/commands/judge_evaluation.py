"""`hero eval`: success rates of the tuned model and its base."""

from __future__ import annotations

from typing import Any

from hero_engine.core.errors import HeroError
from hero_engine.evaluation.verdict import Verdict, difference_interval, verdict
from hero_engine.models.model_sources import find_judge
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import data_json, progress_bar, say, talk


def score(name: str, images: int, noise: str, *, prompt: str | None, as_json: bool) -> None:
    """Evaluate a run and print its scores. HeroError if no judge knows its task."""
    if noise not in ("fresh", "guided"):
        raise HeroError(f"--noise {noise}: choose fresh or guided")
    folder = open_run(name)
    if folder.task.judge is None:
        raise HeroError(f"no judge knows the task {folder.task.name!r}: use hero eval RUN --human")
    find_judge("evaluator")
    talk(f"opening {folder.settings.model}")
    from hero_engine.evaluation.evaluate import evaluate

    with progress_bar("pictures") as on_picture:
        scores = evaluate(
            folder,
            images,
            noise,  # type: ignore[arg-type]
            prompt=prompt,
            on_picture=on_picture,
        )
    found = verdict_of(scores)
    if as_json:
        data_json(scores | {"verdict": found.answer, "images_needed": found.needed})
    else:
        print_scores(scores)
        say(found.told())


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
    say(f"“{scores['prompt']}”, {scores['n']} images each; 95% intervals")
    for name, noises, prefix in rows:
        low, high = scores[f"{prefix}interval"]
        of_good = scores[f"{prefix}good_diversity"]
        say(
            f"{name:<6} {noises:<7} noise: success {scores[f'{prefix}success_rate']:.3f}"
            f" ({low:.3f} to {high:.3f}), diversity {scores[f'{prefix}diversity']:.2f}"
            f" (of good images: {'-' if of_good is None else f'{of_good:.2f}'})"
        )
