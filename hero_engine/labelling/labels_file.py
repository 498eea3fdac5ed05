"""Labels as JSON lines: what `hero label` and `--labels FILE` read, and `hero labels` writes.

One line a picture: {"round": 0, "image": 3, "label": "good" | "bad" | null, "best": true}. Rounds
and images are indices from 0, and an error about a line quotes them as they are there. A line may
also have the keys that `hero labels --json` exports: "prompt", "picture" (its path in the run),
"sha256" (of that file; if it differs, the label was given for another picture), "latent" and
"noise" (where their tensors are), "time" and "source". Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.core.errors import Damaged, HeroError, short
from hero_engine.core.labels import Mark
from hero_engine.core.numbering import round_name

NEEDED = ("round", "image", "label", "best")
EXPORTED = ("prompt", "picture", "sha256", "latent", "noise", "time", "source")
LABELS = {"good": True, "bad": False, None: None}


@dataclass(frozen=True)
class LabelRow:
    """A line of a labels file. good: None for an unlabelled picture. sha256: "" if not given."""

    line: int
    round: int
    image: int
    good: bool | None
    best: bool = False
    sha256: str = ""


@dataclass(frozen=True)
class LabelsFile:
    """A validated labels file. rounds: the lines of each round that has labels, in their order."""

    path: Path
    rounds: Mapping[int, list[LabelRow]]

    def marks(self, round: int) -> list[Mark]:
        """The marks that a round's lines give."""
        rows = [row for row in self.rounds.get(round, ()) if row.good is not None]
        marks = [Mark(row.image, "good" if row.good else "bad") for row in rows]
        return marks + [Mark(row.image, "best") for row in rows if row.best]

    def others(self, round: int, pictures: Mapping[int, Path]) -> list[LabelRow]:
        """The round's lines that were written for other pictures than these (index: file)."""
        return [
            row
            for row in self.rounds.get(round, ())
            if row.sha256 and row.image in pictures and row.sha256 != checksum(pictures[row.image])
        ]

    def without(self, round: int) -> str:
        """A message: the file has no labels for a round."""
        return f'{self.path} has no labels for {round_name(round)} ("round": {round})'

    def refusal(self, row: LabelRow, said: str) -> HeroError:
        """An error about one line."""
        return HeroError(f"{self.path}, line {row.line}: {said}")


def checksum(picture: Path) -> str:
    """SHA-256 of a picture's file. Damaged if it cannot be read."""
    try:
        return sha256(picture.read_bytes()).hexdigest()
    except OSError as error:
        raise Damaged(f"cannot read the picture {picture}: {error.strerror}") from error


def read_labels(path: Path, batch: int, plan: PromptPlan = ONE_PROMPT) -> LabelsFile:
    """Read and validate a labels file. HeroError names the first wrong line by its number.

    batch: pictures a round. plan: the run's prompts, of which each may have a best picture in a
    round. A round in which no picture has a label is skipped.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HeroError(f"cannot read the labels file {path}: {reason}") from error
    return parse_labels(path, text, batch, plan)


def parse_labels(path: Path, text: str, batch: int, plan: PromptPlan = ONE_PROMPT) -> LabelsFile:
    """Validate the text of the labels file at `path`; see `read_labels`."""
    rounds: dict[int, dict[int, LabelRow]] = {}
    best: dict[tuple[int, int], LabelRow] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = _row(number, line, batch)
                group = plan.groups(row.round, batch)[row.image]
                _add(row, group, rounds.setdefault(row.round, {}), best)
            except ValueError as error:
                raise HeroError(f"{path}, line {number}: {error}") from error
    labelled = {
        round: list(rows.values())
        for round, rows in rounds.items()
        if any(row.good is not None for row in rows.values())
    }
    return LabelsFile(path, labelled)


def _row(number: int, line: str, batch: int) -> LabelRow:
    """ValueError says what is wrong with the line."""
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
        raise ValueError(f'"image" is {short(image)}; it must be from 0 to {batch - 1}')
    digest = values.get("sha256", "")
    if not isinstance(digest, str):
        raise ValueError(f'"sha256" is {short(digest)}; it must be text')
    return LabelRow(number, _number(values, "round"), image, LABELS[label], best, digest)


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
    """A JSON object without a repeated key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is repeated")
    return found


def _number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f'"{name}" is {short(value)}; it must be a whole number, 0 or more')
    return value


def _add(
    row: LabelRow,
    group: int,
    earlier: dict[int, LabelRow],
    best: dict[tuple[int, int], LabelRow],
) -> None:
    if other := earlier.get(row.image):
        raise ValueError(f'"image" {row.image} has a label already, in line {other.line}')
    if row.best and (first := best.setdefault((row.round, group), row)) is not row:
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
