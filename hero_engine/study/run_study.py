"""Run or read the trials of a plan.

A study that is started again continues; two processes on one folder share the trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.evaluation.evaluate import near_copies
from hero_engine.labelling.simulated import read_annotator_model
from hero_engine.study.baselines import pictures_left, score_baseline
from hero_engine.study.figures import BASE, PROMPT, Point, read_points
from hero_engine.study.plan import Plan, Trial
from hero_engine.study.settings_table import settings_hash
from hero_engine.study.trial import InUse, Listener, OnScore, is_finished, read_figures, run_trial

OnProgress = Callable[[int, int], None]
"""(pictures sampled, pictures in all)."""


@dataclass(frozen=True)
class Outcome:
    """The figures of a plan so far, each trial up to its budget.

    points: baselines by task and sampler, then trials in the plan's order. missing: trials that
    are not finished. settings: of the trials, flat; empty for a table.
    """

    plan: Plan
    points: list[Point]
    missing: int
    settings: list[dict[str, Any]]


def run_study(plan: Plan, on_progress: OnProgress, on_score: OnScore) -> Outcome:
    """Finish every trial that no other process runs."""
    done, total = 0, sum(_pictures(plan))
    on_progress(done, total)

    def pictures(count: int) -> None:
        nonlocal done
        done += count
        on_progress(min(done, total), total)

    listener = Listener(pictures, on_score)
    for baseline in plan.baselines().values():
        score_baseline(plan, baseline, listener)
    for trial in plan.trials():
        try:
            run_trial(plan, trial, listener)
        except InUse:
            continue
    return read_study(plan)


def read_study(plan: Plan) -> Outcome:
    """The figures that exist; nothing is run. HeroError, exit code 4, if there are none."""
    source = _from_table(plan) if plan.is_table else _from_folder(plan)
    if not any(not point.is_baseline for point in source.points):
        raise HeroError(
            f"{plan.out} has no figures for these tasks, methods and seeds yet",
            exit_code=ExitCode.RUN,
        )
    return source


def _from_folder(plan: Plan) -> Outcome:
    trials = [(trial, read_figures(plan.figures_path(trial))) for trial in plan.trials()]
    begun = [(trial, figures) for trial, figures in trials if figures.get("points")]
    baselines = [read_figures(each.path) for each in plan.baselines().values()]
    nearest = {(b["task"], b["sampler"]): b["base"].get("nearest") for b in baselines if b}
    points = [
        point
        for trial, figures in begun
        for point in within(trial_points(figures, plan.study, nearest), trial.labels)
    ]
    missing = sum(not is_finished(figures, trial.labels) for trial, figures in trials)
    rows = [point for each in baselines if each for point in baseline_points(each, plan)]
    return Outcome(plan, rows + points, missing, [figures["settings"] for _, figures in begun])


def _from_table(plan: Plan) -> Outcome:
    table = [point for point in read_points(plan.out) if point.images == plan.images]
    rows = [point for point in table if point.study == plan.study]
    trials = [(trial, _of_trial(rows, trial)) for trial in plan.trials()]
    points = [point for trial, found in trials for point in within(found, trial.labels)]
    missing = sum(not found or found[-1].labels < trial.labels for trial, found in trials)
    return Outcome(plan, _baselines_of(table, points, plan) + points, missing, [])


def _of_trial(rows: Iterable[Point], trial: Trial) -> list[Point]:
    wanted = (trial.task.name, trial.method.name, trial.labeller, trial.seed)
    return [row for row in rows if (row.task, row.method, row.labeller, row.seed) == wanted]


def _baselines_of(rows: Iterable[Point], points: Iterable[Point], plan: Plan) -> list[Point]:
    """Baselines with the samplers of these points, from any study, since they need no labels."""
    known = {
        (row.task, row.sampler, row.method): row
        for row in rows
        if row.is_baseline and row.labeller == _taste(plan)
    }
    of = dict.fromkeys((point.task, point.sampler) for point in points)
    return [row for key in of for at, row in known.items() if at[:2] == key]


def _taste(plan: Plan) -> str:
    """The labeller of a baseline: its scores depend on a picky judge's taste, not on its errors."""
    taste = read_annotator_model(plan.labeller).picky
    return f"judge:picky={taste}" if taste else "judge"


def trial_points(
    figures: dict[str, Any],
    study: str,
    nearest_of_base: Mapping[tuple[str, str], Sequence[float] | None],
) -> list[Point]:
    """A trial's file as rows of the table; transfer is on the last.

    nearest_of_base: `Score.nearest` of the base by task and sampler, None where it is not known.
    """
    settings = figures["settings"]
    transfer = [score["rate"] for score in figures.get("transfer", {}).values()]
    sampler = "{} steps, eta {:g}, guidance {:g}".format(
        *(settings[f"sampler.{name}"] for name in ("steps", "eta", "guidance"))
    )
    first = {name: figures[name] for name in ("task", "method", "labeller", "seed", "images")}
    first |= {"study": study, "sampler": sampler, "settings": settings_hash(settings)}
    first["made_with"] = _versions(figures["made_with"])
    of_base = nearest_of_base.get((figures["task"], sampler))
    rows = [
        Point(
            **first,
            labels=point["labels"],
            fresh=point["fresh"]["rate"],
            diversity=point["fresh"]["diversity"],
            good_diversity=point["fresh"]["good_diversity"],
            near_copies=_near_copies(point["fresh"], of_base),
            guided=point["guided"] and point["guided"]["rate"],
            base_guided=point["base_guided"] and point["base_guided"]["rate"],
            kl=point["kl"],
        )
        for point in figures["points"]
    ]
    return [*rows[:-1], replace(rows[-1], transfer=fmean(transfer))] if transfer else rows


def baseline_points(figures: dict[str, Any], plan: Plan) -> list[Point]:
    """A baseline's file as rows of the table: the task's prompt, then the better one."""
    transfer = [score["rate"] for score in figures["transfer"].values()]
    scores = {BASE: figures["base"], f"{PROMPT}{figures['enhanced_prompt']}": figures["enhanced"]}
    return [
        Point(
            study=plan.study,
            task=figures["task"],
            method=method,
            labeller=_taste(plan),
            seed=None,
            images=figures["images"],
            sampler=figures["sampler"],
            labels=0,
            fresh=score["rate"],
            diversity=score["diversity"],
            good_diversity=score["good_diversity"],
            transfer=fmean(transfer) if transfer and method == BASE else None,
            made_with=_versions(figures["made_with"]),
        )
        for method, score in scores.items()
        if score is not None
    ]


def _near_copies(score: Mapping[str, Any], of_base: Sequence[float] | None) -> float | None:
    """None for a score, or a base, that was measured before distances were kept."""
    nearest = score.get("nearest")
    return near_copies(nearest, of_base) if nearest and of_base else None


def _versions(made: dict[str, str]) -> str:
    return f"hero {made['hero']}, torch {made['torch']}, threads {made['threads']}"


def within(points: Sequence[Point], labels: int) -> list[Point]:
    """A trial's points up to a smaller budget of labels."""
    kept = [point for at, point in enumerate(points) if not at or points[at - 1].labels < labels]
    return kept if len(kept) == len(points) else [replace(each, transfer=None) for each in kept]


def _pictures(plan: Plan) -> Iterator[int]:
    """Pictures that each part of the study has left to sample, for labels and scores."""
    for baseline in plan.baselines().values():
        yield pictures_left(plan, baseline)
    for trial in plan.trials():
        yield _trial_pictures(plan, trial)


def _trial_pictures(plan: Plan, trial: Trial) -> int:
    figures = read_figures(plan.figures_path(trial))
    if is_finished(figures, trial.labels):
        return 0
    points = figures.get("points", [])
    labels = max(0, trial.labels - (points[-1]["labels"] if points else 0))
    guided = trial.settings().noise.fresh_ratio < 1
    scores = -(-labels // plan.every) * (1 + guided) + guided + len(trial.task.transfer_prompts)
    return labels + scores * plan.images
