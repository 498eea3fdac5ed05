"""`hero bench learn`: which method learns from fewer labels."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from hero_engine.config.tasks import list_tasks
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.study.methods import HEADLINE, METHODS, read_contenders, said
from hero_tui.commands.bench.tables import show_tables
from hero_tui.commands.start_run import changes_of
from hero_tui.output_streams import data, say, talk

if TYPE_CHECKING:
    from hero_engine.study.plan import Cell, Plan
    from hero_engine.study.report import Report
    from hero_engine.study.run_study import Outcome

FULL = {"labels": 512, "images": 128}
QUICK = {"labels": 256, "images": 64}
# Seeds begin at 3: the embedded preset's settings were found with 0 to 2 (docs/learning.md).
QUICK_METHODS = "hero,hero+@128,sft,ddpo"
QUICK_EVERY = 128
LINE = "{task} {method} seed {seed}: {labels} labels, fresh {fresh:.3f}"


@dataclass(frozen=True)
class Choice:
    """The options as they were typed."""

    quick: bool
    tasks: str | None
    methods: str | None
    seeds: str | None
    labeller: str
    labels: int | None
    every: int | None
    images: int | None
    settings: Sequence[str]
    out: Path | None

    def command(self) -> str:
        """What makes the same figures again."""
        named = {
            "tasks": self.tasks,
            "methods": self.methods,
            "seeds": self.seeds,
            "labeller": self.labeller if self.labeller != "judge" else None,
            "labels": self.labels,
            "every": self.every,
            "images": self.images,
        }
        given = [f"--{name} {value}" for name, value in named.items() if value is not None]
        given += [f"--set {each}" for each in self.settings]
        return " ".join(["hero bench learn", *(["--quick"] if self.quick else []), *given])

    def plan(self) -> Plan:
        """HeroError for what cannot be."""
        from hero_engine.study.plan import Plan

        numbers = QUICK if self.quick else FULL
        default = "hands" if self.quick else ",".join(task.name for task in list_tasks())
        methods = QUICK_METHODS if self.quick else ",".join(HEADLINE)
        return Plan(
            tasks=tuple(dict.fromkeys((self.tasks or default).split(","))),
            contenders=read_contenders(self.methods or methods),
            seeds=read_seeds(self.seeds or ("3" if self.quick else "3-7")),
            labeller=self.labeller,
            labels=self.labels or numbers["labels"],
            every=self.every or (QUICK_EVERY if self.quick else 64),
            images=self.images or numbers["images"],
            changes=changes_of(self.settings),
            out=self.out or Path("hero-bench-quick" if self.quick else "hero-bench"),
        )


def read_seeds(text: str) -> tuple[int, ...]:
    """ "0,1,2" or "0-4". HeroError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise HeroError(f"--seeds {text}: write 0,1,2 or 0-4")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(dict.fromkeys(found))


def bench_learn(choice: Choice, *, only_report: bool, as_json: bool) -> None:
    """Do what is missing of the study, then print all of it; methods "list" only says them."""
    if choice.methods == "list":
        say(said(METHODS))
        return
    plan = choice.plan()
    outcome = read_plan(plan) if only_report else run_plan(plan)
    from hero_engine.study.report import write_report

    report = write_report(outcome, choice.command())
    if as_json:
        data((plan.out / "summary.json").read_text("utf-8"))
    else:
        show(report)
    talk(f"tables and plots: {plan.out}/results.md; labels and figures: {plan.out}/cells")


def read_plan(plan: Plan) -> Outcome:
    """What is there of the study."""
    from hero_engine.study.run_study import read_study

    outcome = read_study(plan)
    if outcome.missing:
        talk(f"{plan.out}: not there, or not finished: {outcome.missing} of the runs")
    return outcome


def run_plan(plan: Plan) -> Outcome:
    """All of the study, but what other processes are at work on."""
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HeroError(
            f"cannot write to {plan.out}: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from error
    talk(f"{plan.out}: {sum(1 for _ in plan.cells())} runs; interrupt and start again as you like")
    from hero_engine.study.run_study import run_study

    with watching() as (on_progress, on_point):
        return run_study(plan, on_progress, on_point)


@contextmanager
def watching() -> Iterator[
    tuple[Callable[[int, int], None], Callable[[Cell, dict[str, Any]], None]]
]:
    """What the study tells: a bar with an estimate on a terminal, and a line for every point."""
    estimate = Estimate()
    if not sys.stderr.isatty():
        yield estimate.at, lambda cell, point: talk(f"{point_line(cell, point)}; {estimate.text()}")
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("pictures")

        def at(done: int, total: int) -> None:
            estimate.at(done, total)
            bar.update(task, completed=done, total=total, description=estimate.text())

        yield at, lambda cell, point: console.print(point_line(cell, point), highlight=False)


def point_line(cell: Cell, point: dict[str, Any]) -> str:
    """A new point in one line."""
    guided = point["guided"]
    return LINE.format(
        task=cell.task.name,
        method=cell.contender.name,
        seed=cell.seed,
        labels=point["labels"],
        fresh=point["fresh"]["rate"],
    ) + (f", guided {guided['rate']:.3f}" if guided else "")


class Estimate:
    """How much is left, from the pictures so far."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._done, self._total = 0, 0

    def at(self, done: int, total: int) -> None:
        """So many pictures of all."""
        self._done, self._total = done, total

    def text(self) -> str:
        """ "37%, about 2 h 10 min left"."""
        if not self._done:
            return "beginning"
        rate = (time.monotonic() - self._begun) / self._done
        minutes = round(rate * (self._total - self._done) / 60)
        left = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        return f"{self._done / self._total:.0%}, about {left} left"


def show(report: Report) -> None:
    """Tables, and on a terminal the plots."""
    show_tables(report.tables)
    if sys.stdout.isatty():
        for plot in report.plots:
            show_plot(plot, min(get_terminal_size().columns, 100))


def show_plot(path: Path, columns: int) -> None:
    """A plot in the terminal, as wide as so many cells."""
    from PIL import Image

    from hero_tui.commands.inspect_runs import print_picture

    with Image.open(path, formats=["PNG"]) as picture:
        print_picture(picture.convert("RGB"), columns)
