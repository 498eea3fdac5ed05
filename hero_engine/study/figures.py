"""The table of a study's figures as CSV: one row a score.

A study folder keeps a JSON file for every trial. The table is enough to make the report again:
`hero bench learn --report --out figures.csv` reads nothing else.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.storage.atomic_files import write_atomically

BASE = "base"
"""`Point.method` of the base model with the task's own prompt."""
PROMPT = "prompt: "
"""Start of `Point.method` of the base model with another prompt."""


@dataclass(frozen=True)
class Point:
    """The scores of a model after `labels` labels.

    method: a method as `parse_method` reads it, or a baseline (`BASE`, `PROMPT...`), which has no
    seed and 0 labels. images: pictures a score. sampler: see `plan.sampler_text`. fresh, guided:
    success in 0..1 with fresh noise and with the run's guided noise. base_guided: success of the
    base with that guided noise. diversity: mean distance between two pictures in the evaluator's
    features, with fresh noise. good_diversity: the same between two successes; None for fewer than
    two. near_copies: share of pictures with fresh noise that are nearer to another one than all but
    1% of the base's. kl: nats a picture from the base. transfer: mean success over the task's other
    prompts, at the end of a trial. settings: see `settings_hash`. made_with: versions.
    """

    study: str
    task: str
    method: str
    labeller: str
    seed: int | None
    images: int
    sampler: str
    labels: int
    fresh: float
    diversity: float
    good_diversity: float | None = None
    near_copies: float | None = None
    guided: float | None = None
    base_guided: float | None = None
    kl: float | None = None
    transfer: float | None = None
    settings: str = ""
    made_with: str = ""

    @property
    def is_baseline(self) -> bool:
        """True for a score without labels."""
        return self.method == BASE or self.method.startswith(PROMPT)


COLUMNS = tuple(field.name for field in fields(Point))
READERS: dict[str, Callable[[str], Any]] = {
    "seed": int, "images": int, "labels": int, "fresh": float, "diversity": float,
    "good_diversity": float, "near_copies": float, "guided": float, "base_guided": float,
    "kl": float, "transfer": float,
}  # fmt: skip
"""How a column that is not text is read."""
SIX_DIGITS = frozenset({"diversity", "good_diversity", "kl"})


def write_points(path: Path, points: Iterable[Point]) -> None:
    """Write the table, shares of pictures exactly, distances and KL with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(name, getattr(point, name)) for name in COLUMNS] for point in points)
    write_atomically(path, text.getvalue())


def read_points(path: Path) -> list[Point]:
    """Read the table. HeroError, exit code 4, for a missing file or another kind of file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_point(row) for row in csv.DictReader(file)]
    except OSError as error:
        raise HeroError(f"cannot read {path}: {error.strerror}", exit_code=ExitCode.RUN) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise HeroError(
            f"{path} is not a table of figures ({error}); its columns are {', '.join(COLUMNS)}",
            exit_code=ExitCode.RUN,
        ) from error


def _text(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if name in SIX_DIGITS else f"{value:.9g}"
    return "" if value is None else str(value)


def _point(row: Mapping[str, str]) -> Point:
    return Point(**{name: _value(name, row[name]) for name in COLUMNS})


def _value(name: str, text: str) -> Any:
    if name not in READERS:
        return text
    return READERS[name](text) if text else None
