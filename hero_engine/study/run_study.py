"""All cells of a plan, one after the other, with how much of the work is done.

Start it again and it goes on; start it twice and each process takes cells that the other has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.study.cell import InUse, OnPoint, Watch, is_finished, read_figures, work
from hero_engine.study.event_lines import line_pictures, lines_of
from hero_engine.study.plan import Cell, Plan

OnProgress = Callable[[int, int], None]
"""Pictures sampled, and in all: what is left over is a fair estimate of the time."""


@dataclass(frozen=True)
class Outcome:
    """What a study has so far. cells: each that has figures, up to the plan's number of labels;
    missing: how many are not finished.

    lines: see `Plan.lines`.
    """

    plan: Plan
    lines: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    missing: int


def run_study(plan: Plan, on_progress: OnProgress, on_point: OnPoint) -> Outcome:
    """Bring every cell to its end, but those another process works on."""
    done, total = 0, sum(_pictures(plan))
    on_progress(done, total)

    def pictures(count: int) -> None:
        nonlocal done
        done += count
        on_progress(min(done, total), total)

    watch = Watch(pictures, on_point)
    lines = [lines_of(plan, line, watch) for line in plan.lines().values()]
    for cell in plan.cells():
        try:
            work(plan, cell, watch)
        except InUse:
            continue
    return outcome(plan, lines)


def read_study(plan: Plan) -> Outcome:
    """What is on the disk; nothing is run. HeroError, exit code 4, where it holds none of it."""
    lines = (read_figures(line.path) for line in plan.lines().values())
    return outcome(plan, [line for line in lines if line])


def outcome(plan: Plan, lines: list[dict[str, Any]]) -> Outcome:
    """With the cells that are on the disk."""
    cells = [(cell, read_figures(plan.figures_path(cell))) for cell in plan.cells()]
    missing = sum(not is_finished(figures, cell) for cell, figures in cells)
    begun = [within(figures, cell.labels) for cell, figures in cells if figures.get("points")]
    if not begun:
        raise HeroError(
            f"{plan.out} holds no figures of these runs yet; others may be at work on them",
            exit_code=ExitCode.RUN,
        )
    return Outcome(plan, lines, begun, missing)


def within(figures: dict[str, Any], labels: int) -> dict[str, Any]:
    """A cell's figures as a smaller budget of labels would have left them."""
    points = figures["points"]
    kept = [point for at, point in enumerate(points) if not at or points[at - 1]["labels"] < labels]
    return figures if len(kept) == len(points) else figures | {"points": kept, "transfer": {}}


def _pictures(plan: Plan) -> Iterator[int]:
    """Pictures that each part of the study still samples, for labels and for scores."""
    for line in plan.lines().values():
        yield line_pictures(plan, line)
    for cell in plan.cells():
        yield _missing(plan, cell)


def _missing(plan: Plan, cell: Cell) -> int:
    figures = read_figures(plan.figures_path(cell))
    if is_finished(figures, cell):
        return 0
    points = figures.get("points", [])
    labels = max(0, cell.labels - (points[-1]["labels"] if points else 0))
    guided = cell.settings().noise.fresh_ratio < 1
    scores = -(-labels // plan.every) * (1 + guided) + guided + len(cell.task.transfer_prompts)
    return labels + scores * plan.images
