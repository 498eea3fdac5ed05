"""Checkpoints: everything that a round starts from, whole or not at all.

::

    checkpoints/r003/        what round 3 starts from
      lora.safetensors …     one file a part
      state.json             counters, and what was told of the round before
      manifest.json          every file with its size and SHA-256; written last

A checkpoint is written into a folder beside, file by file flushed to the disk, and renamed into
place: the rename is the moment at which it exists. A file that differs from the manifest, is
missing or is not named there makes the checkpoint `Damaged`; the one before it is still there.
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
        """Rounds that a checkpoint begins, rising, whether it is whole or not."""
        names = [path.name.removeprefix("r") for path in self.folder.glob("r*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def path(self, round: int) -> Path:
        """Where the checkpoint that begins a round is, or will be."""
        return self.folder / f"r{round:03}"

    def save(
        self, round: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Everything round `round` starts from, in one rename; the oldest ones then go."""
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
        """A checkpoint. Damaged, with the file's name, where it is not what was saved."""
        folder = self.path(round)
        _check(folder)
        try:
            state = dict(json.loads((folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise Damaged(f"{folder}/state.json is damaged: {error}") from error
        if state.get("round") != round:
            raise Damaged(f"{folder} is damaged: it is the checkpoint of another round")
        return {file.stem: read_tensors(file) for file in _files(folder, ".safetensors")}, state

    def is_whole(self, round: int) -> bool:
        """Whether there is such a checkpoint, byte by byte as it was saved. Needs no torch."""
        try:
            _check(self.path(round))
        except Damaged:
            return False
        return True

    def newest(self, tell: Tell | None = None) -> Checkpoint | None:
        """The newest checkpoint; None before the first.

        Where it is damaged, `tell` is told, in a line, and the one before it is taken; without
        `tell` it is refused (Damaged).
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
        """Under another name first: half a checkpoint is never seen."""
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
    """Damaged where a file is not what the manifest says."""
    try:
        told = dict(json.loads((folder / MANIFEST).read_text("utf-8"))["files"])
        for name in sorted(told.keys() | {path.name for path in _files(folder)} - {MANIFEST}):
            if name not in told:
                raise Damaged(f"{folder}/{name} is damaged: it is no part of the checkpoint")
            if told[name] != _facts(folder / name):
                raise Damaged(f"{folder}/{name} is damaged: its checksum differs")
    except OSError as error:
        raise Damaged(f"{error.filename or folder} is damaged: {error.strerror}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise Damaged(f"{folder}/{MANIFEST} is damaged: {error}") from error
