"""Means over seeds with 95% intervals (Student's t), labels needed, curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hero_engine.study.run_study import Outcome

STUDENT_T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""Two-sided 95% points of Student's t with 1, 2, ... 20 degrees of freedom."""
Figures = dict[str, Any]


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
    """Of at least one value."""
    known = list(values)
    if len(known) == 1:
        return Mean(known[0], None, 1)
    t = STUDENT_T_95[min(len(known) - 1, len(STUDENT_T_95)) - 1]
    half = t * statistics.stdev(known) / math.sqrt(len(known))
    return Mean(statistics.fmean(known), half, len(known))


def labels_needed(points: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """Labels at which success first reaches `wanted`, between points on straight lines.

    points: (labels, success), rising in labels, the base at 0 labels first. None where it never
    does.
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
class Row:
    """A method on a task, over its seeds, at the most labels that all of them have.

    base: success of the base with the method's sampler, and fresh noise.
    needed: success -> (mean labels over the seeds that reach it or None, how many reach it).
    diversity, good_diversity: shares of the base's, with fresh noise; good_diversity is None where
    fewer than two successes were seen. transfer: mean success over the prompts it never saw.
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
    kl: Mean | None
    transfer: Mean | None
    curve: list[tuple[int, Mean]]


def summarise(outcome: Outcome, reach: Sequence[float]) -> list[Row]:
    """A row for each task and method that has figures, in the plan's order."""
    rows = []
    for task in dict.fromkeys(line["task"] for line in outcome.lines):
        for each in outcome.plan.contenders:
            of = [c for c in outcome.cells if (c["task"], c["method"]) == (task, each.name)]
            if of:
                rows.append(_row(of, line_of(outcome, of[0]), reach))
    return rows


def line_of(outcome: Outcome, cell: Figures) -> Figures:
    """The line of the cell's task and sampler."""
    return next(
        line
        for line in outcome.lines
        if line["task"] == cell["task"]
        and all(cell["settings"][f"sampler.{k}"] == v for k, v in line["settings"].items())
    )


def _row(cells: list[Figures], lines: Figures, reach: Sequence[float]) -> Row:
    base, common = lines["base"], _common(cells)
    last = [_at(cell, common[-1]) for cell in cells]
    needed = {
        level: _needed([_success(cell, base["rate"]) for cell in cells], level) for level in reach
    }
    return Row(
        task=cells[0]["task"],
        method=cells[0]["method"],
        labeller=cells[0]["labeller"],
        sampler=lines["sampler"],
        base=base["rate"],
        seeds=len(cells),
        labels=common[-1],
        fresh=mean_of(point["fresh"]["rate"] for point in last),
        guided=_known(point["guided"] and point["guided"]["rate"] for point in last),
        base_guided=_known(point["base_guided"] and point["base_guided"]["rate"] for point in last),
        needed=needed,
        diversity=mean_of(point["fresh"]["diversity"] / base["diversity"] for point in last),
        good_diversity=_known(_share(point["fresh"], base, "good_diversity") for point in last),
        kl=_known(point["kl"] for point in last),
        transfer=_known(_transfer(cell, common[-1]) for cell in cells),
        curve=[(at, mean_of(_at(cell, at)["fresh"]["rate"] for cell in cells)) for at in common],
    )


def _common(cells: list[Figures]) -> list[int]:
    """The numbers of labels that all seeds have a point at."""
    seen = [{point["labels"] for point in cell["points"]} for cell in cells]
    return sorted(set.intersection(*seen)) or [min(max(each) for each in seen)]


def _at(cell: Figures, labels: int) -> Figures:
    """The point at these labels, or the last before them, or the first."""
    before = [point for point in cell["points"] if point["labels"] <= labels]
    return dict((before or cell["points"][:1])[-1])


def _success(cell: Figures, base: float) -> list[tuple[float, float]]:
    return [(0, base), *((p["labels"], p["fresh"]["rate"]) for p in cell["points"])]


def _needed(curves: list[list[tuple[float, float]]], level: float) -> tuple[Mean | None, int]:
    found = [labels_needed(curve, level) for curve in curves]
    known = [labels for labels in found if labels is not None]
    return (mean_of(known) if known else None), len(known)


def _known(values: Iterable[float | None]) -> Mean | None:
    """Of all values, or none where one is missing: never a mean over fewer seeds than it says."""
    known = list(values)
    return None if None in known else mean_of(value for value in known if value is not None)


def _share(score: Figures, base: Figures, name: str) -> float | None:
    return score[name] / base[name] if score[name] and base[name] else None


def _transfer(cell: Figures, labels: int) -> float | None:
    """Measured at the end of a cell's budget; None where that is not at these labels."""
    at_the_end = cell["points"][-1]["labels"] <= labels
    scores = cell.get("transfer", {}).values() if at_the_end else ()
    return statistics.fmean(score["rate"] for score in scores) if scores else None
