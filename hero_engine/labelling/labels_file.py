"""Labels as JSON lines: what `hero label` and `--labels FILE` read, and `hero labels` writes.

One line a picture: {"round": 0, "image": 3, "label": "good" | "bad" | null, "best": true}. Rounds
and images are indices, and an error about a line quotes them as they stand there. A line may also
say what `hero labels --json` exports: "picture" (its path in the run), "sha256" (of that file; if
it differs, the label was given for another picture), "latent" and "noise" (where their tensors
are), "time" and "source". Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hero_engine.core.errors import Damaged, HeroError, short
from hero_engine.core.numbering import round_name
from hero_engine.storage.journal import Mark

NEEDED = ("round", "image", "label", "best")
EXPORTED = ("picture", "sha256", "latent", "noise", "time", "source")
LABELS = {"good": True, "bad": False, None: None}


@dataclass(frozen=True)
class Row:
    """A line of a labels file. good: None for a picture without a label; sha256: "" if not told."""

    line: int
    round: int
    image: int
    good: bool | None
    best: bool = False
    sha256: str = ""


@dataclass(frozen=True)
class LabelsFile:
    """A labels file, checked. rounds: of each round that has labels, its lines in their order."""

    path: Path
    rounds: Mapping[int, list[Row]]

    def marks(self, round: int) -> list[Mark]:
        """What the journal keeps of a round's lines."""
        rows = [row for row in self.rounds.get(round, ()) if row.good is not None]
        marks = [Mark(row.image, "good" if row.good else "bad") for row in rows]
        return marks + [Mark(row.image, "best") for row in rows if row.best]

    def others(self, round: int, pictures: Mapping[int, Path]) -> list[Row]:
        """The round's lines that were written for other pictures than these (index: file)."""
        return [
            row
            for row in self.rounds.get(round, ())
            if row.sha256 and row.image in pictures and row.sha256 != checksum(pictures[row.image])
        ]

    def without(self, round: int) -> str:
        """That the file says nothing of a round."""
        return f'{self.path} has no labels for {round_name(round)} ("round": {round})'

    def refusal(self, row: Row, said: str) -> HeroError:
        """An error about one line."""
        return HeroError(f"{self.path}, line {row.line}: {said}")


def checksum(picture: Path) -> str:
    """SHA-256 of a picture's file. Damaged where it cannot be read."""
    try:
        return sha256(picture.read_bytes()).hexdigest()
    except OSError as error:
        raise Damaged(f"cannot read the picture {picture}: {error.strerror}") from error


def read_labels(path: Path, batch: int) -> LabelsFile:
    """A labels file, every line of it checked. HeroError with the number of a wrong line.

    batch: pictures a round. Rounds in which no picture has a label are left out.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HeroError(f"cannot read the labels file {path}: {reason}") from error
    return parse_labels(path, text, batch)


def parse_labels(path: Path, text: str, batch: int) -> LabelsFile:
    """`read_labels` of a text that came from `path`."""
    rounds: dict[int, dict[int, Row]] = {}
    best: dict[int, Row] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = _row(number, line, batch)
                _add(row, rounds.setdefault(row.round, {}), best)
            except ValueError as error:
                raise HeroError(f"{path}, line {number}: {error}") from error
    labelled = {
        round: list(rows.values())
        for round, rows in rounds.items()
        if any(row.good is not None for row in rows.values())
    }
    return LabelsFile(path, labelled)


def _row(number: int, line: str, batch: int) -> Row:
    """ValueError that says what is wrong with the line."""
    values = _object(line)
    if unknown := sorted(values.keys() - {*NEEDED, *EXPORTED}):
        raise ValueError(f"unknown key {short(unknown[0])}; known are {', '.join(NEEDED)}")
    label, best = values.get("label", ""), values.get("best", False)
    if not isinstance(label, str | None) or label not in LABELS:
        raise ValueError(f'"label" is {short(label)}; it must be "good", "bad" or null')
    if not isinstance(best, bool) or (best and label != "good"):
        raise ValueError('"best" must be true or false, and true only for a good picture')
    image = _number(values, "image")
    if image >= batch:
        raise ValueError(f'"image" is {short(image)}; it goes from 0 to {batch - 1}')
    told = values.get("sha256", "")
    if not isinstance(told, str):
        raise ValueError(f'"sha256" is {short(told)}; it must be text')
    return Row(number, _number(values, "round"), image, LABELS[label], best, told)


def _object(line: str) -> dict[str, Any]:
    try:
        values: Any = json.loads(line, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("not JSON (too deeply nested)") from error
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError('expected an object such as {"round": 0, "image": 3, "label": "good"}')
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose keys comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f'"{name}" is {short(value)}; it must be a whole number from 0 on')
    return value


def _add(row: Row, earlier: dict[int, Row], best: dict[int, Row]) -> None:
    if other := earlier.get(row.image):
        raise ValueError(f'"image" {row.image} has a label already, in line {other.line}')
    if row.best and (first := best.setdefault(row.round, row)) is not row:
        raise ValueError(f'"round" {row.round} has a best already, in line {first.line}')
    earlier[row.image] = row


def template(round: int, pictures: Mapping[int, Path], run: Path) -> Iterator[dict[str, Any]]:
    """A line for every picture of a round, its label still null."""
    for image, path in pictures.items():
        yield {
            "round": round,
            "image": image,
            "label": None,
            "best": False,
            "picture": str(path.relative_to(run)),
            "sha256": checksum(path),
        }


def to_lines(rows: Iterator[dict[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)
