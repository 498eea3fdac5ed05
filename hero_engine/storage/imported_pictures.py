"""Pictures that were imported into a run, as latents with labels, by the round that they join.

::

    RUN/imported/r003-000/
      latents.safetensors   final latents, labels, the numbers of their prompts
      pictures.jsonl        where each came from: path, sha256, label, prompt
      000.png …             each picture as it was encoded

The round is the first that had not been learned from. A resume, also from an earlier round, learns
from them in the same round again. Imports no torch until tensors are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.storage.atomic_files import (
    read_tensors,
    write_atomically,
    write_png,
    write_tensors,
)

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = "latents.safetensors"


def imports_of(run: Path, round: int) -> list[Path]:
    """The folders of what joins a round, in the order in which they were imported."""
    return sorted((run / "imported").glob(f"r{round:03}-[0-9]*"))


def imported_files(run: Path, rounds: int) -> Iterator[Path]:
    """All files of what joins the first `rounds` rounds."""
    for round in range(rounds):
        for folder in imports_of(run, round):
            yield from folder.iterdir()


def imported_tensors(run: Path, round: int) -> list[dict[str, Tensor]]:
    """The tensors of what joins a round. Damaged where they cannot be read."""
    found = [folder / TENSORS for folder in imports_of(run, round)]
    return [read_tensors(path) for path in found if path.exists()]


class NewImport:
    """An import that is being written; nothing reads it before `finish`."""

    def __init__(self, run: Path, round: int) -> None:
        self.folder = run / "imported" / f"r{round:03}-{len(imports_of(run, round)):03}"
        self.count = 0

    def add(self, pixels_B_H_W_3: Any) -> None:
        """Write further pictures, uint8."""
        for pixels in pixels_B_H_W_3:
            write_png(self.folder / f"{self.count:03}.png", pixels)
            self.count += 1

    def finish(self, tensors: Mapping[str, Tensor], pictures: Sequence[Mapping[str, Any]]) -> None:
        """Write where the pictures came from, then their tensors, which make the import count."""
        lines = "".join(json.dumps(each) + "\n" for each in pictures)
        write_atomically(self.folder / "pictures.jsonl", lines)
        write_tensors(self.folder / TENSORS, tensors)
