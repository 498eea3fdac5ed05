"""Means over seeds with 95% intervals (Student's t), labels needed, curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hero_engine.study.figures import BASE, Point
from hero_engine.study.run_study import Outcome

STUDENT_T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""Two-sided 95% points of Student's t with 1, 2, ... 20 degrees of freedom."""


@dataclass(frozen=True)
class Mean:
    """A mean over n seeds and half the width of its 95% interval (None for one seed)."""

    mean: float
    half: float | None
    n: int

    def text(self, digits: int = 3) -> str:
        """ "0.812 ± 0.034", or the number alone for one seed."""
        number = f"{self.mean:.{digits}f}"
        return number if self.half is None else f"{number} ± {self.half:.{digits}f}"


def mean_of(values: Iterable[float]) -> Mean:
    """Mean and interval of one or more values."""
    known = list(values)
    if len(known) == 1:
        return Mean(known[0], None, 1)
    t = STUDENT_T_95[min(len(known) - 1, len(STUDENT_T_95)) - 1]
    half = t * statistics.stdev(known) / math.sqrt(len(known))
    return Mean(statistics.fmean(known), half, len(known))


def labels_needed(points: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """Labels at which success first reaches `wanted`, by linear interpolation.

    points: (labels, success), rising in labels, the base at 0 labels first. None if it never does.
    """
    before: tuple[float, float] | None = None
    for labels, success in points:
        if success >= wanted:
            if before is None:
                return labels
            share = (wanted - before[1]) / (success - before[1])
            return before[0] + share * (labels - before[0])
        before = (labels, success)
    return None


@dataclass(frozen=True)
class MethodSummary:
    """A method on a task, over its seeds, at the most labels that all of them have.

    base: success of the base with the method's sampler and fresh noise. needed: success rate ->
    (mean labels over the seeds that reach it, or None; how many seeds reach it). diversity,
    good_diversity: as shares of the base's, with fresh noise; good_diversity is None if a seed has
    fewer than two successes. near_copies: see `Point`. transfer: mean success over prompts that
    were not trained on.
    """

    task: str
    method: str
    labeller: str
    sampler: str
    base: float
    seeds: int
    labels: int
    fresh: Mean
    guided: Mean | None
    base_guided: Mean | None
    needed: dict[float, tuple[Mean | None, int]]
    diversity: Mean
    good_diversity: Mean | None
    near_copies: Mean | None
    kl: Mean | None
    transfer: Mean | None
    curve: list[tuple[int, Mean]]


def summarise(outcome: Outcome, reach: Sequence[float]) -> list[MethodSummary]:
    """A summary for each task and method that has figures, in the plan's order.

    reach: success rates to count labels to.
    """
    scored = [point for point in outcome.points if not point.is_baseline]
    bases = {(p.task, p.sampler): p for p in outcome.points if p.method == BASE}
    summaries = []
    for task in dict.fromkeys(point.task for point in scored):
        for method in outcome.plan.methods:
            mine = [p for p in scored if (p.task, p.method) == (task, method.name)]
            if mine:
                base = bases[task, mine[0].sampler]
                summaries.append(_summary(_by_seed(mine), base, reach))
    return summaries


def _by_seed(points: Iterable[Point]) -> list[list[Point]]:
    """One list of points a seed."""
    seeds: dict[int | None, list[Point]] = {}
    for point in points:
        seeds.setdefault(point.seed, []).append(point)
    return list(seeds.values())


def _summary(trials: list[list[Point]], base: Point, reach: Sequence[float]) -> MethodSummary:
    common = _common(trials)
    last = [_at(trial, common[-1]) for trial in trials]
    needed = {level: _needed([_success(t, base.fresh) for t in trials], level) for level in reach}
    first = trials[0][0]
    return MethodSummary(
        task=first.task,
        method=first.method,
        labeller=first.labeller,
        sampler=base.sampler,
        base=base.fresh,
        seeds=len(trials),
        labels=common[-1],
        fresh=mean_of(point.fresh for point in last),
        guided=_known(point.guided for point in last),
        base_guided=_known(point.base_guided for point in last),
        needed=needed,
        diversity=mean_of(point.diversity / base.diversity for point in last),
        good_diversity=_known(share(p.good_diversity, base.good_diversity) for p in last),
        near_copies=_known(point.near_copies for point in last),
        kl=_known(point.kl for point in last),
        transfer=_known(point.transfer for point in last),
        curve=[(at, mean_of(_at(trial, at).fresh for trial in trials)) for at in common],
    )


def _common(trials: list[list[Point]]) -> list[int]:
    """The numbers of labels at which all seeds were scored."""
    seen = [{point.labels for point in trial} for trial in trials]
    return sorted(set.intersection(*seen)) or [min(max(each) for each in seen)]


def _at(trial: list[Point], labels: int) -> Point:
    """The point at these labels, or the last before them, or the first."""
    before = [point for point in trial if point.labels <= labels]
    return (before or trial[:1])[-1]


def _success(trial: list[Point], base: float) -> list[tuple[float, float]]:
    return [(0, base), *((point.labels, point.fresh) for point in trial)]


def _needed(curves: list[list[tuple[float, float]]], level: float) -> tuple[Mean | None, int]:
    found = [labels_needed(curve, level) for curve in curves]
    known = [labels for labels in found if labels is not None]
    return (mean_of(known) if known else None), len(known)


def _known(values: Iterable[float | None]) -> Mean | None:
    """The mean if every seed has a value: never a mean over fewer seeds than the row says."""
    known = list(values)
    return None if None in known else mean_of(value for value in known if value is not None)


def share(value: float | None, base: float | None) -> float | None:
    """A diversity as a share of the base's; None if either is missing or 0."""
    return value / base if value and base else None
