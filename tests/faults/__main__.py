"""Inject hundreds of faults: `python -m tests.faults` from the project's folder.

Prints the rows of docs/durability.md's table, some minutes each. The exit code is 1 if a label was
lost or a run differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from commands import Command  # noqa: E402
from disks import full, on_small_disks, over_quota, read_only  # noqa: E402
from power_cuts import on, play, power_cuts  # noqa: E402
from trials import (  # noqa: E402
    MEMORY_DISK,
    Subject,
    Tally,
    failing_at,
    killed_again_and_again,
    killed_at,
)
from write_log import WriteLog  # noqa: E402

Row = tuple[str, Tally]


def rows(root: Path, given: argparse.Namespace) -> Iterator[Row]:
    """A fault and its result."""
    for update in ("ddpo", "forward"):
        if given.only in (None, update):
            yield from engine_rows(Subject(root, update), update, given)
    if given.only in (None, "power"):
        yield from power_rows(given)
    if given.only in (None, "hero"):
        tally = Command(root).killed(given.hero, given.seed)
        yield "`hero run` and `hero resume` killed at random times", tally


def power_rows(given: argparse.Namespace) -> Iterator[Row]:
    """The journal alone, with a write-ahead log and with a rollback journal."""
    for file_system, name in (("ext4", "write-ahead log"), ("nfs", "rollback journal")):
        log = WriteLog()
        if log.possible:
            with on(file_system):
                tally = power_cuts(play(log), given.cuts, given.seed)
            yield f"the power is cut: torn and unordered writes, {name}", tally


def engine_rows(subject: Subject, update: str, given: argparse.Namespace) -> Iterator[Row]:
    """The engine alone, in processes forked off one that has the model open."""
    every = range(1, len(subject.instants) + 1, given.every)
    files = [at for at in every if not subject.instants[at - 1].startswith("s")]
    names = (
        f"killed at {len(every)} of {len(subject.instants)} instants",
        "killed at random times, again and again",
        "the disk is full from one write on",
        "the file system turns read-only",
        "the quota is used up",
        "a small disk (tmpfs) fills up",
    )
    tallies = (
        lambda: killed_at(subject, list(every)),
        lambda: killed_again_and_again(subject, given.kills, given.seed),
        lambda: failing_at(subject, files, full),
        lambda: failing_at(subject, files[:: given.thin], read_only),
        lambda: failing_at(subject, files[1 :: given.thin], over_quota),
        lambda: on_small_disks(subject, list(range(20, 500, 8 * given.every))),
    )
    for name, tally in zip(names, tallies, strict=True):
        yield f"{name}, `{update}`", tally()


def main() -> int:
    """Run all rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--only", choices=("ddpo", "forward", "power", "hero"), help="a part of the rows"
    )
    parser.add_argument("--every", type=int, default=1, help="only every Nth instant")
    parser.add_argument("--thin", type=int, default=4, help="read-only: only every Nth file")
    parser.add_argument("--kills", type=int, default=150, help="kills at random, for each update")
    parser.add_argument("--hero", type=int, default=60, help="kills of the hero command")
    parser.add_argument("--cuts", type=int, default=5000, help="power cuts, for each journal mode")
    parser.add_argument("--seed", type=int, default=0, help="of the times drawn")
    given, failed = parser.parse_args(), 0
    print("| fault | how often | labels given before it | labels lost | runs that differ |")
    print("|---|---|---|---|---|", flush=True)
    with TemporaryDirectory(dir=MEMORY_DISK) as root:
        for name, tally in rows(Path(root), given):
            failed += tally.lost + len(tally.different)
            numbers = (tally.faults, tally.labels, tally.lost, len(tally.different))
            print(f"| {name} | {' | '.join(map(str, numbers))} |", flush=True)
            for line in tally.different:
                print(line, file=sys.stderr, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
