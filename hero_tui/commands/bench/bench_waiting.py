"""`hero bench waiting`: the share of a session in which a person has nothing to label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from typing import Any

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import load_task, settings_for
from hero_engine.study.report import Table
from hero_tui.commands.bench.simulated_user import TAKING_BACK, SessionTimes, UserTiming
from hero_tui.commands.bench.tables import show_tables
from hero_tui.commands.bench.timed_session import run_session
from hero_tui.output_streams import data_json, say, talk

ROUNDS, QUICK_ROUNDS, QUICK_BATCH = 3, 2, 16
MODES = {"off": False, "on": True}
"""Values of the setting `sample_ahead`."""

CAUSES = ("sampling", "representation", "update", TAKING_BACK)
"""Causes of waiting in the table; all others take milliseconds."""

WAITING = 0.05
"""Target for the share of a session spent waiting, with `sample_ahead`."""


@dataclass(frozen=True)
class WaitingOptions:
    """The options of the command."""

    timing: UserTiming
    rounds: int | None
    batch: int | None
    update: str | None
    preset: str | None
    quick: bool
    real_time: bool

    def settings(self) -> Settings:
        """Settings of the runs. HeroError for invalid options."""
        rounds = self.rounds or (QUICK_ROUNDS if self.quick else ROUNDS)
        batch = self.batch or (QUICK_BATCH if self.quick else None)
        wanted = {"update": self.update, "batch": batch, "rounds": rounds}
        changes = {name: value for name, value in wanted.items() if value is not None}
        return settings_for(load_task("hands"), "embedded", self.preset, changes)


def bench_waiting(options: WaitingOptions, *, as_json: bool) -> None:
    """Measure and print."""
    settings = options.settings()
    found = measure(settings, options.timing, real_time=options.real_time)
    if as_json:
        data_json(found)
        return
    say(
        f"{settings.model}, update {settings.update}, {settings.rounds} rounds of "
        f"{settings.batch} at {options.timing.a_picture:g} s a picture; {found['cores']} cores, "
        f"load {found['load']:.1f}"
    )
    show_tables([Table("Waiting", ("", "without", "--ahead", "target"), list(rows(found)))])


def measure(settings: Settings, timing: UserTiming, *, real_time: bool = False) -> dict[str, Any]:
    """A session without and one with `sample_ahead`, each in a new process, as JSON values."""
    found: dict[str, Any] = {
        "rounds": settings.rounds,
        "batch": settings.batch,
        "timing": asdict(timing),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    task = load_task(settings.task)
    for name, ahead in MODES.items():
        talk(f"{settings.rounds} rounds of {settings.batch}, ahead {name}")
        mode = replace(settings, sample_ahead=ahead)
        with fresh_process() as fresh:
            found[name] = facts(
                fresh.submit(run_session, mode, task, timing, real_time=real_time).result()
            )
    return found


def fresh_process() -> Executor:
    """A process in which nothing is loaded yet, as when a person starts hero."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def facts(times: SessionTimes) -> dict[str, Any]:
    """A session as JSON values: seconds, and shares."""
    return {
        "first": times.first,
        "session": times.session,
        "waited": times.waited,
        "share": times.share,
        "share_with_first": times.share_with_first,
        "split": times.split(),
    }


def rows(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The table's rows."""
    modes = [found[name] for name in MODES]
    holds = "yes" if found["on"]["share"] <= WAITING else "NO"
    share, first = (
        [f"{mode[name]:.1%}" for mode in modes] for name in ("share", "share_with_first")
    )
    yield "waiting, share of the session", *share, f"≤ {WAITING:.0%}: {holds}"
    for cause in CAUSES:
        yield f"... {cause}", *(seconds(mode["split"].get(cause, 0.0)) for mode in modes), ""
    yield "the session", *(seconds(mode["session"]) for mode in modes), ""
    yield "before the first picture", *(seconds(mode["first"]) for mode in modes), ""
    yield "waiting, first picture included", *first, ""


def seconds(value: float) -> str:
    """ "6.4 s"."""
    return f"{value:.1f} s"
