"""A long run of tiny pictures: what it takes of the machine must not grow with its rounds.

    python -m tests.soak --rounds 1000 --out soak.csv           # about ten minutes on one core
    python -m tests.soak --rounds 1000 --out soak.csv --dir RUN # again: continues in RUN
    python -m tests.soak --rounds 0 --out soak.csv --plot FILE  # draws a table that is there

Every 10 rounds it writes a row: resident memory and open files of the process, size and number of
files of the run, checkpoints, and seconds a round. At the end it compares the last tenth with the
second tenth and exits with 1 where something grew: memory by more than 20%, open files by any,
seconds a round by more than half, the folder by more for each round.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent / "support"))

import torch
from PIL import Image
from stand_ins import write_pipeline
from tiny_runs import Script, go, new_run, tiny_settings

from hero_engine.core.events import Event, RoundFinished
from hero_engine.storage.run_folder import RunDir, is_run
from hero_engine.study.plots import Curve, draw

EVERY = 10
LABELS = ("*.bgbb", "gb.*bb", "bbgb*.")
LEAST_ROWS = 20
"""Rows that a comparison of tenths needs."""


@dataclass(frozen=True)
class Row:
    """What was measured after a round."""

    round: int
    memory_mb: float
    open_files: int
    folder_mb: float
    files: int
    checkpoints: int
    seconds_a_round: float


class Meter:
    """Measures this process and the run's folder every `EVERY` rounds."""

    def __init__(self, run: RunDir, out: Path) -> None:
        self._run, self._out = run, out
        self._began, self._first = time.monotonic(), run.opened().round

    def hear(self, event: Event) -> None:
        """An event of the engine."""
        if not isinstance(event, RoundFinished) or (event.round + 1) % EVERY:
            return
        now, rounds = time.monotonic(), event.round + 1 - self._first
        row = self._measured(event.round + 1, (now - self._began) / max(1, rounds))
        self._append(row)
        self._began, self._first = time.monotonic(), event.round + 1

    def _measured(self, round: int, seconds: float) -> Row:
        sizes = [each.stat().st_size for each in self._run.path.rglob("*") if each.is_file()]
        return Row(
            round,
            round_to(resident_bytes() / 1e6),
            len(list(Path("/proc/self/fd").iterdir())),
            round_to(sum(sizes) / 1e6),
            len(sizes),
            len(list((self._run.path / "checkpoints").iterdir())),
            round_to(seconds),
        )

    def _append(self, row: Row) -> None:
        new = not self._out.exists()
        with self._out.open("a", newline="") as file:
            writer = csv.DictWriter(file, [each.name for each in fields(Row)])
            if new:
                writer.writeheader()
            writer.writerow(asdict(row))
        print(row, flush=True)


def round_to(value: float) -> float:
    """To a thousandth."""
    return float(f"{value:.3f}")


def resident_bytes() -> int:
    """Resident memory of this process, in bytes; Linux's /proc."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def read_rows(path: Path) -> list[Row]:
    """The rows of a table that a `Meter` wrote."""
    with path.open(newline="") as file:
        return [Row(*(float(value) for value in row.values())) for row in csv.DictReader(file)]  # type: ignore[arg-type]


def growth(rows: Sequence[Row]) -> list[str]:
    """What the last tenth needs more of than the second tenth, a line each; few rows show none."""
    if len(rows) < LEAST_ROWS:
        return []
    tenth = len(rows) // 10
    early, late = rows[tenth : 2 * tenth], rows[-tenth:]
    found = []
    for name, limit in (("memory_mb", 1.2), ("open_files", 1.0), ("seconds_a_round", 1.5)):
        before, after = (fmean(getattr(row, name) for row in part) for part in (early, late))
        if after > before * limit:
            found.append(f"{name}: {before:.3f} in the second tenth, {after:.3f} in the last")
    if _folder_slope(late) > 1.2 * _folder_slope(early):
        found.append(
            f"folder: {_folder_slope(early):.3f} MB a round, then {_folder_slope(late):.3f}"
        )
    return found


def plotted(rows: Sequence[Row]) -> Image.Image:
    """What grew and what did not, each as a share of its largest value."""
    names = {
        "memory_mb": "memory",
        "open_files": "open files",
        "folder_mb": "run folder",
        "seconds_a_round": "seconds a round",
    }
    curves = []
    for name, told in names.items():
        values = [float(getattr(row, name)) for row in rows]
        shares = [
            (float(row.round), value / max(values), None)
            for row, value in zip(rows, values, strict=True)
        ]
        curves.append(Curve(f"{told}: at most {max(values):.4g}", shares))
    return draw("Share of the largest value", curves, {}, across="rounds")


def _folder_slope(rows: Sequence[Row]) -> float:
    """MB by which the folder grows a round; 0 where there is only one row."""
    first, last = rows[0], rows[-1]
    return (last.folder_mb - first.folder_mb) / max(1, last.round - first.round)


def soak(folder: Path, rounds: int, out: Path, update: str) -> None:
    """Run or resume until there are `rounds` rounds."""
    torch.set_num_threads(1)
    model = folder.with_name(f"{folder.name}-model")
    if not model.exists():
        write_pipeline(model, 4, 8)
    settings = tiny_settings(model, update=update, rounds=rounds)
    run = RunDir.open(folder) if is_run(folder) else new_run(folder, settings)
    go(run, Script(*LABELS), emit=Meter(run, out).hear)


def main() -> int:
    """Run the soak and print what grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True, help="table to append to (CSV)")
    parser.add_argument("--dir", type=Path, help="folder of the run; default: a temporary one")
    parser.add_argument("--update", default="forward", choices=("ddpo", "forward", "d3po", "sft"))
    parser.add_argument("--plot", type=Path, help="PNG of the table")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.dir or Path(stack.enter_context(TemporaryDirectory())) / "run"
        if given.rounds:
            soak(folder.absolute(), given.rounds, given.out, given.update)
    if given.plot:
        plotted(read_rows(given.out)).save(given.plot)
    found = growth(read_rows(given.out))
    print("\n".join(found) or "nothing grew")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
