"""Add the figures of a finished study folder to the table beside this script.

    python docs/results/collect.py FOLDER NAME

NAME is the study in the table; a trial that the table has already is replaced. FOLDER holds the
`figures.csv` and `settings.toml` that `hero bench learn --report --out FOLDER` writes.
"""

import sys
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import tomli_w

from hero_engine.study.figures import Point, read_points, write_points
from hero_engine.study.settings_table import COMMON, differing

TABLE = Path(__file__).parent / "figures.csv"
SETTINGS = Path(__file__).parent / "settings.toml"


def key(point: Point) -> tuple[object, ...]:
    """The trial or baseline of a row."""
    return (point.study, point.task, point.method, point.labeller, point.seed, point.sampler)


def merged(old: Iterable[Point], new: Iterable[Point]) -> list[Point]:
    """The old rows, those of repeated trials replaced, in order."""
    new = list(new)
    repeated = {key(point) for point in new}
    kept = [point for point in old if key(point) not in repeated]
    return sorted([*kept, *new], key=order)


def order(point: Point) -> tuple[object, ...]:
    """Where a row stands in the table; baselines, which have no seed, first."""
    seed = -1 if point.seed is None else point.seed
    return (
        point.study,
        point.task,
        point.method,
        point.labeller,
        point.sampler,
        seed,
        point.labels,
    )


def add_settings(folder: Path) -> None:
    """Add the folder's settings to settings.toml, as differences from its common values."""
    known = tomllib.loads(SETTINGS.read_text("utf-8"))
    new = tomllib.loads((folder / "settings.toml").read_text("utf-8"))
    common = new.pop(COMMON)
    for digest, values in new.items():
        known[digest] = differing(common | values, known[COMMON])
    rest = {digest: known[digest] for digest in sorted(known.keys() - {COMMON})}
    SETTINGS.write_text(tomli_w.dumps({COMMON: known[COMMON], **rest}), "utf-8")


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    points = [replace(point, study=name) for point in read_points(folder / "figures.csv")]
    write_points(TABLE, merged(read_points(TABLE), points))
    add_settings(folder)
    print(f"{len(points)} rows of {folder} are in {TABLE}")
