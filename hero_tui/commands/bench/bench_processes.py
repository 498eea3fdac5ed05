"""`hero bench speed --processes N`: time a round in one process and in N."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hero_engine.config.settings import Settings
from hero_engine.core.errors import ExitCode, HeroError, Lost
from hero_engine.core.numbering import counted
from hero_engine.distributed.launcher import check_processes
from hero_tui.output_streams import data_json, say, talk

TURNS, QUICK_TURNS = 2, 1


def bench_processes(settings: Settings, processes: int, *, quick: bool, as_json: bool) -> None:
    """Measure and print. HeroError, exit code 2, if this many processes cannot share a round."""
    check(settings, processes)
    talk(f"opening {settings.model} {processes} times")
    try:
        measured = measure(settings, processes, QUICK_TURNS if quick else TURNS)
    except Lost as lost:  # there is no run to resume
        raise HeroError(
            f"{lost.message.partition(';')[0]}; nothing was measured", exit_code=ExitCode.FAILED
        ) from lost
    if as_json:
        data_json(measured)
        return
    for line in lines(settings, measured):
        say(line)


def check(settings: Settings, processes: int) -> None:
    """HeroError, exit code 2, if a process would have no pictures, or no GPU."""
    check_processes(processes)
    if processes > settings.batch:
        raise HeroError(
            f"--processes {processes}: a round has only {settings.batch} pictures. "
            f"Choose at most {settings.batch} processes, or a larger --batch."
        )


def measure(settings: Settings, processes: int, turns: int) -> dict[str, Any]:
    """All figures as JSON values. Seconds are those of the fastest turn."""
    from hero_engine.evaluation import timed_round

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="hero-bench-") as logs:
        return {"load": load, **timed_round.measure(settings, processes, turns, Path(logs))}


def lines(settings: Settings, measured: dict[str, Any]) -> Iterator[str]:
    """A table: a row for sampling and one for the update, a column for each way to run them."""
    each, all_threads = (counted(measured[name], "thread") for name in ("threads_each", "threads"))
    yield (
        f"{settings.model}, update {settings.update}, {settings.batch} pictures a round; "
        f"{os.cpu_count()} cores, {each} a process, load {measured['load']:.1f}"
    )
    columns = {"alone": "1 process", "shared": f"{measured['processes']} processes"}
    if all_threads != each:
        columns["all_threads"] = f"1, {all_threads}"
    yield f"{'':<10}" + "".join(f"{title:>14}" for title in columns.values())
    for step in ("sampling", "update"):
        yield f"{step:<10}" + "".join(f"{measured[step][name]:>12.2f} s" for name in columns)
