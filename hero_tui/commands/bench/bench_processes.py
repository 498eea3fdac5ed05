"""`hero bench speed --processes N`: a round alone, and shared; and what the model on paper says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.config.settings import Settings
from hero_engine.core.errors import ExitCode, HeroError, Lost
from hero_engine.distributed.launcher import check_processes
from hero_tui.output_streams import data_json, say, talk

if TYPE_CHECKING:
    from hero_engine.distributed.link import Wire
    from hero_engine.evaluation.scaling import Round

TURNS, QUICK_TURNS = 2, 1
SHARE = 4
"""Processes of which one's share is measured alone, without them: it holds the model to more."""
COUNTS = (1, 2, 4, 8, 16, 32)
"""Processes that the model is asked about."""
NETWORKS = {"1 Gbit/s": (0.125e9, 200e-6), "10 Gbit/s": (1.25e9, 50e-6)}
"""Thought of, not measured: bytes a second, and seconds of latency."""


def bench_scaling(settings: Settings, processes: int, *, quick: bool, as_json: bool) -> None:
    """Measure and print. HeroError, exit code 2, where so many processes cannot share a round."""
    check(settings, processes)
    talk(f"opening {settings.model} {processes} times")
    try:
        found = measure(settings, processes, QUICK_TURNS if quick else TURNS)
    except Lost as lost:  # there is no run here to go on with
        raise HeroError(
            f"{lost.message.partition(';')[0]}; nothing was measured", exit_code=ExitCode.FAILED
        ) from lost
    if as_json:
        data_json(found)
        return
    for line in lines(settings, found):
        say(line)


def check(settings: Settings, processes: int) -> None:
    """HeroError, exit code 2, where a process would have nothing to do, or no place."""
    check_processes(processes)
    if processes > settings.batch:
        raise HeroError(
            f"--processes {processes}: a round of {settings.batch} pictures has none for some of "
            f"them; choose at most {settings.batch}, or a larger --batch"
        )


def measure(settings: Settings, processes: int, turns: int) -> dict[str, Any]:
    """All figures, as JSON values, in seconds; of each the fastest turn's."""
    from hero_engine.evaluation.timed_round import trial_of

    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="hero-bench-") as folder,
        trial_of(settings, processes, Path(folder)) as trial,
    ):
        sampling, update = trial.sampling(turns), trial.updating(turns)
        round, wire = trial.round(sampling.alone, update.alone, turns), trial.wire()
        return {
            "processes": processes,
            "threads": trial.threads,
            "threads_each": trial.threads_each,
            "load": load,
            "sampling": asdict(sampling) | {"paper": round.sampling(processes, wire)},
            "update": asdict(update) | {"paper": round.updating(processes, wire)},
            "round": asdict(round),
            "wire": asdict(wire),
            "share": {"alone": trial.share(SHARE, turns), "paper": round.share(SHARE)},
            "paper": predictions(round, wire),
        }


def predictions(round: Round, here: Wire) -> dict[str, dict[int, float]]:
    """A whole round's seconds on paper, by wire and number of processes."""
    from hero_engine.distributed.link import Wire

    wires = {"as here": here} | {name: Wire(*each) for name, each in NETWORKS.items()}
    return {
        name: {count: round.all(count, wire) for count in COUNTS} for name, wire in wires.items()
    }


def lines(settings: Settings, found: dict[str, Any]) -> Iterator[str]:
    """What is printed."""
    each, all_threads = (counted(found[name], "thread") for name in ("threads_each", "threads"))
    yield (
        f"{settings.model}, update {settings.update}, {settings.batch} pictures a round; "
        f"{os.cpu_count()} cores, {each} a process, load {found['load']:.1f}"
    )
    columns = {"alone": "1 process", "shared": f"{found['processes']} processes"}
    if all_threads != each:
        columns["all_threads"] = f"1, {all_threads}"
    yield f"{'':<10}" + "".join(f"{each:>14}" for each in columns.values()) + f"{'on paper':>18}"
    for step in ("sampling", "update"):
        times = found[step]
        seconds = "".join(f"{times[name]:>12.2f} s" for name in columns)
        yield f"{step:<10}{seconds}{_held(times['paper'], times['shared']):>18}"
    yield from paper_lines(found)


def _held(paper: float, measured: float) -> str:
    """The model's seconds, and by how much they miss."""
    return f"{paper:.2f} s ({paper / measured - 1:+.0%})"


def paper_lines(found: dict[str, Any]) -> Iterator[str]:
    """What the model says of more processes, each with a processor of its own."""
    wire, round, share = found["wire"], found["round"], found["share"]
    yield (
        f"one of {SHARE} processes' share of the update takes {share['alone']:.2f} s alone, "
        f"{_held(share['paper'], share['alone'])} on paper"
    )
    yield (
        f"between processes {wire['bandwidth'] / 1e6:.0f} MB/s and {1e6 * wire['latency']:.0f} µs; "
        f"a sum of gradients is {round['weights'] / 1e6:.2f} MB, {round['steps']} a round"
    )
    yield "a whole round on paper, with a processor for each process:"
    yield f"{'processes':<10}" + "".join(f"{name:>14}" for name in found["paper"])
    for count in COUNTS:
        seconds = [f"{by_count[count]:.2f} s" for by_count in found["paper"].values()]
        yield f"{count:<10}" + "".join(f"{each:>14}" for each in seconds)


def counted(count: int, what: str) -> str:
    """ "1 thread", "2 threads"."""
    return f"{count} {what}{'' if count == 1 else 's'}"
