"""`hero bench learn`: compare the success of methods by number of labels."""

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
from hero_engine.study.methods import HEADLINE, METHODS, described, parse_methods
from hero_tui.commands.bench.tables import show_tables
from hero_tui.commands.start_run import changes_of
from hero_tui.output_streams import data, say, talk

if TYPE_CHECKING:
    from hero_engine.study.plan import Plan, Trial
    from hero_engine.study.report import Report
    from hero_engine.study.run_study import Outcome

FULL = {"labels": 512, "images": 128}
QUICK = {"labels": 256, "images": 64}
# Seeds start at 3: the embedded preset was tuned with seeds 0 to 2 (docs/learning.md).
QUICK_METHODS = "hero,hero+@128,sft,ddpo"
QUICK_EVERY = 128
LINE = "{task} {method} seed {seed}: {labels} labels, fresh {fresh:.3f}"


@dataclass(frozen=True)
class Choice:
    """The options as typed."""

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
    study: str | None = None

    def command(self) -> str:
        """The command that repeats these figures."""
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
        """The study. HeroError for an unknown task, method, setting or labeller."""
        from hero_engine.study.plan import FULL as FULL_STUDY
        from hero_engine.study.plan import Plan

        numbers = QUICK if self.quick else FULL
        default = "hands" if self.quick else ",".join(task.name for task in list_tasks())
        methods = QUICK_METHODS if self.quick else ",".join(HEADLINE)
        return Plan(
            tasks=tuple(dict.fromkeys((self.tasks or default).split(","))),
            methods=parse_methods(self.methods or methods),
            seeds=read_seeds(self.seeds or ("3" if self.quick else "3-7")),
            labeller=self.labeller,
            labels=self.labels or numbers["labels"],
            every=self.every or (QUICK_EVERY if self.quick else 64),
            images=self.images or numbers["images"],
            changes=changes_of(self.settings),
            out=self.out or Path("hero-bench-quick" if self.quick else "hero-bench"),
            study=self.study or FULL_STUDY,
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
    """Run what the study lacks and print its report; `methods` "list" prints the methods."""
    if choice.methods == "list":
        say(described(METHODS))
        return
    plan = choice.plan()
    if plan.is_table and not only_report:
        raise HeroError(f"--out {plan.out}: a table is only read; add --report")
    outcome = read_plan(plan) if only_report else run_plan(plan)
    from hero_engine.study.report import write_report

    report = write_report(outcome, choice.command())
    if as_json:
        data((plan.folder / "summary.json").read_text("utf-8"))
    else:
        show(report)
    talk(f"tables and plots: {plan.folder / 'results.md'}")


def read_plan(plan: Plan) -> Outcome:
    """Read what exists of the study."""
    from hero_engine.study.run_study import read_study

    outcome = read_study(plan)
    if outcome.missing:
        talk(f"{plan.out}: {outcome.missing} of the runs are missing or not finished")
    return outcome


def run_plan(plan: Plan) -> Outcome:
    """Run the study, except for trials that other processes run."""
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HeroError(
            f"cannot write to {plan.out}: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from error
    count = sum(1 for _ in plan.trials())
    talk(f"{plan.out}: {count} runs; interrupt this and start it again at any time")
    from hero_engine.study.run_study import run_study

    with watching() as (on_progress, on_score):
        return run_study(plan, on_progress, on_score)


@contextmanager
def watching() -> Iterator[
    tuple[Callable[[int, int], None], Callable[[Trial, dict[str, Any]], None]]
]:
    """Callbacks that print a line a score, and a progress bar on a terminal."""
    estimate = Estimate()
    if not sys.stderr.isatty():
        yield (
            estimate.at,
            lambda trial, point: talk(f"{score_line(trial, point)}; {estimate.text()}"),
        )
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("pictures")

        def at(done: int, total: int) -> None:
            estimate.at(done, total)
            bar.update(task, completed=done, total=total, description=estimate.text())

        yield at, lambda trial, point: console.print(score_line(trial, point), highlight=False)


def score_line(trial: Trial, point: dict[str, Any]) -> str:
    """A new score in one line."""
    guided = point["guided"]
    return LINE.format(
        task=trial.task.name,
        method=trial.method.name,
        seed=trial.seed,
        labels=point["labels"],
        fresh=point["fresh"]["rate"],
    ) + (f", guided {guided['rate']:.3f}" if guided else "")


class Estimate:
    """Estimates the time that is left from the pictures sampled so far."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._done, self._total = 0, 0

    def at(self, done: int, total: int) -> None:
        """Note that `done` of `total` pictures are sampled."""
        self._done, self._total = done, total

    def text(self) -> str:
        """ "37%, about 2 h 10 min left"."""
        if not self._done:
            return "starting"
        rate = (time.monotonic() - self._begun) / self._done
        minutes = round(rate * (self._total - self._done) / 60)
        left = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        return f"{self._done / self._total:.0%}, about {left} left"


def show(report: Report) -> None:
    """Print the tables and, on a terminal, the plots."""
    show_tables(report.tables)
    if sys.stdout.isatty():
        for plot in report.plots:
            show_plot(plot, min(get_terminal_size().columns, 100))


def show_plot(path: Path, columns: int) -> None:
    """Print a plot in the terminal, `columns` cells wide."""
    from PIL import Image

    from hero_tui.commands.inspect_runs import print_picture

    with Image.open(path, formats=["PNG"]) as picture:
        print_picture(picture.convert("RGB"), columns)
