"""Checkpoints: everything that a round starts from; a checkpoint is complete or does not exist.

::

    checkpoints/r003/        what round 3 starts from
      lora.safetensors …     one file per part
      state.json             counters, and the report of the round before
      manifest.json          every file with its size and SHA-256; written last

A checkpoint is written into a folder beside, each file is flushed to the disk, and the folder is
renamed into place: from then on it exists. If a file differs from the manifest, is missing or is
not in it, the checkpoint is `Damaged`; the one before is still there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.core.errors import Damaged
from hero_engine.storage.atomic_files import (
    flush_folder,
    make_folder,
    read_tensors,
    sha256,
    write_atomically,
    write_tensors,
)

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
Parts = dict[str, dict[str, "Tensor"]]
Checkpoint = tuple[Parts, dict[str, Any]]
"""Parts and state."""
Tell = Callable[[str], None]


class Checkpoints:
    """The checkpoints of one run, in the folder `checkpoints`; the last `keep` are kept."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def rounds(self) -> list[int]:
        """Rounds that have a checkpoint, ascending, whether it is intact or not."""
        names = [path.name.removeprefix("r") for path in self.folder.glob("r*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def path(self, round: int) -> Path:
        """Folder of the checkpoint that a round starts from, whether it exists or not."""
        return self.folder / f"r{round:03}"

    def save(
        self, round: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Save what `round` starts from, in one rename; the oldest checkpoints are then removed."""
        for left in self.folder.glob(".r*.tmp"):  # by a crash
            shutil.rmtree(left)
        beside = self.folder / f".r{round:03}.tmp"
        make_folder(beside)
        for name, tensors in parts.items():
            write_tensors(beside / f"{name}.safetensors", tensors)
        write_atomically(beside / "state.json", json.dumps({"round": round, **state}, indent=1))
        write_atomically(beside / MANIFEST, json.dumps(_manifest(beside), indent=1))
        for later in [each for each in self.rounds() if each >= round]:
            self._remove(later)  # damaged, or it would not be made again
        beside.rename(self.path(round))
        flush_folder(self.folder)
        for old in self.rounds()[: -self.keep]:
            self._remove(old)

    def load(self, round: int) -> Checkpoint:
        """Load a checkpoint. Damaged, with the file's name, if it differs from what was saved."""
        folder = self.path(round)
        _check(folder)
        try:
            state = dict(json.loads((folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise Damaged(f"{folder}/state.json is damaged: {error}") from error
        if state.get("round") != round:
            raise Damaged(f"{folder} is damaged: it belongs to another round")
        return {file.stem: read_tensors(file) for file in _files(folder, ".safetensors")}, state

    def is_whole(self, round: int) -> bool:
        """Whether the checkpoint exists and every byte is as it was saved. Imports no torch."""
        try:
            _check(self.path(round))
        except Damaged:
            return False
        return True

    def newest(self, tell: Tell | None = None) -> Checkpoint | None:
        """The newest checkpoint; None before the first.

        If it is damaged, `tell` gets a line and the one before is used; without `tell`, Damaged is
        raised.
        """
        for round in reversed(self.rounds()):
            try:
                return self.load(round)
            except Damaged as error:
                if tell is None:
                    raise
                tell(error.message)
        return None

    def _remove(self, round: int) -> None:
        """Remove a checkpoint, renamed first, so that half a checkpoint is never seen."""
        going = self.folder / f".r{round:03}.old.tmp"
        self.path(round).rename(going)
        shutil.rmtree(going, ignore_errors=True)


def _files(folder: Path, ending: str = "") -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending))


def _manifest(folder: Path) -> dict[str, Any]:
    return {"files": {path.name: _facts(path) for path in _files(folder)}}


def _facts(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": sha256(data)}


def _check(folder: Path) -> None:
    """Damaged if a file differs from the manifest."""
    try:
        expected = dict(json.loads((folder / MANIFEST).read_text("utf-8"))["files"])
        for name in sorted(expected.keys() | {path.name for path in _files(folder)} - {MANIFEST}):
            if name not in expected:
                raise Damaged(f"{folder}/{name} is damaged: the manifest does not have it")
            if expected[name] != _facts(folder / name):
                raise Damaged(f"{folder}/{name} is damaged: its checksum differs")
    except OSError as error:
        raise Damaged(f"{error.filename or folder} is damaged: {error.strerror}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise Damaged(f"{folder}/{MANIFEST} is damaged: {error}") from error
