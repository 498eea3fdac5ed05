"""A run on the disk: layout, lock, checkpoints. Imports no torch until tensors are touched.

::

    RUN/
      run.toml            frozen settings, the task, versions
      journal.db          rounds, images, every mark and undo, metrics
      events.jsonl        the event stream
      status.json         written atomically; what `hero status` reads
      images/r000/000.png …
      rounds/r000/        the round's latents; trajectories until it is trained
      checkpoints/r001/   what the run needs to begin round 1: lora, optimizer, embedding, prior, memory

Directories are written beside and renamed into place, so that a kill leaves the old one or the new.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import tomli_w

from hero_engine import __version__
from hero_engine.config import Settings, from_toml, to_toml
from hero_engine.errors import HeroError
from hero_engine.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

NOT_USABLE = 3
KEPT_CHECKPOINTS = 2


class RunDir:
    """One run's folder. Made by ``create`` or ``open``; ``lock`` it before writing to it."""

    def __init__(self, path: Path, settings: Settings, task: Task) -> None:
        self.path, self.settings, self.task = path, settings, task
        self._lock_file: TextIO | None = None

    @classmethod
    def create(cls, path: Path, settings: Settings, task: Task) -> RunDir:
        """A new run in a folder that does not exist yet, or is empty. HeroError, 3, otherwise."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = "choose another --dir" if not is_run(path) else f"go on with: hero resume {path}"
            raise HeroError(f"{path} exists already; {hint}", exit_code=NOT_USABLE)
        try:
            path.mkdir(parents=True, exist_ok=True)
            tables = {
                "hero": {"version": __version__, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")},
                "task": {k: v for k, v in asdict(task).items() if v is not None},
                "settings": tomllib.loads(to_toml(settings)),
            }
            write_atomically(path / "run.toml", tomli_w.dumps(tables))
        except OSError as error:
            raise HeroError(f"cannot write to {path}: {error.strerror}", exit_code=NOT_USABLE) from error
        return cls(path, settings, task)

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run. HeroError, exit code 3, where there is none or it is damaged."""
        if not is_run(path):
            raise HeroError(f"{path} is not a run: it has no run.toml", exit_code=NOT_USABLE)
        try:
            tables = tomllib.loads((path / "run.toml").read_text("utf-8"))
            task = {**tables["task"]}
            task["transfer_prompts"] = tuple(task.get("transfer_prompts", ()))
            return cls(path, from_toml(tomli_w.dumps(tables["settings"])), Task(**task))
        except (tomllib.TOMLDecodeError, KeyError, TypeError, HeroError) as error:
            raise HeroError(f"{path}/run.toml is damaged: {error}", exit_code=NOT_USABLE) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. HeroError, exit code 3, where another one holds it."""
        file = (self.path / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise HeroError(
                f"{self.path} is in use by another hero; close that one first", exit_code=NOT_USABLE
            ) from error
        try:
            yield
        finally:
            file.close()

    @property
    def journal_path(self) -> Path:
        """The label journal."""
        return self.path / "journal.db"

    def images_dir(self, round: int) -> Path:
        """The pictures of a round."""
        return self.path / "images" / f"r{round:03}"

    def add_event(self, line: str) -> None:
        """Append one line of JSON to events.jsonl."""
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace status.json."""
        write_atomically(self.path / "status.json", json.dumps(status, indent=1))

    def status(self) -> dict[str, Any]:
        """What status.json says; empty before the engine has opened the run."""
        try:
            return dict(json.loads((self.path / "status.json").read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise HeroError(
                f"{self.path}/status.json cannot be read: {error}", exit_code=NOT_USABLE
            ) from error

    def save_picture(self, round: int, image: int, pixels_H_W_3: Any) -> Path:
        """Write a uint8 picture as PNG, durably; returns its absolute path."""
        from PIL import Image

        path = self.images_dir(round) / f"{image:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        with beside.open("wb") as file:
            Image.fromarray(pixels_H_W_3).save(file, "PNG")
            flush(file.fileno())
        beside.replace(path)
        return path.absolute()

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write ``RUN/name``.safetensors durably, beside and renamed."""
        path = self.path / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_tensors(path, tensors)

    def load_tensors(self, name: str) -> dict[str, Tensor] | None:
        """What ``save_tensors`` wrote; None where it did not. HeroError, 3, for a damaged file."""
        path = self.path / f"{name}.safetensors"
        return _read_tensors(path) if path.is_file() else None

    def drop(self, name: str) -> None:
        """Delete a file that ``save_tensors`` wrote, if it is there."""
        (self.path / f"{name}.safetensors").unlink(missing_ok=True)

    def save_checkpoint(
        self, round: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Everything round ``round`` starts from, in one rename; older ones but the last go."""
        folder = self.path / "checkpoints"
        beside, final = folder / f".r{round:03}.tmp", folder / f"r{round:03}"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, tensors in parts.items():
            _write_tensors(beside / f"{name}.safetensors", tensors)
        write_atomically(beside / "state.json", json.dumps({"round": round, **state}, indent=1))
        shutil.rmtree(final, ignore_errors=True)
        beside.rename(final)
        flush_folder(folder)
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
        """Parts and state of the newest checkpoint; None before the first."""
        found = self._checkpoints()
        if not found:
            return None
        folder = found[-1]
        try:
            state = json.loads((folder / "state.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise HeroError(f"{folder} is damaged: {error}", exit_code=NOT_USABLE) from error
        parts = {file.stem: _read_tensors(file) for file in sorted(folder.glob("*.safetensors"))}
        return parts, dict(state)

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / "checkpoints").glob("r[0-9]*"))


def is_run(path: Path) -> bool:
    """Whether the folder holds a run."""
    return (path / "run.toml").is_file()


def runs_root() -> Path:
    """Where runs go without ``--dir``: $HERO_RUNS, else the XDG data folder."""
    if chosen := os.environ.get("HERO_RUNS"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "hero" / "runs"


def new_run_path(task: str) -> Path:
    """A folder for a new run: task, date, time; counted up where that is taken."""
    base = runs_root() / f"{task}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = base, 2
    while path.exists():
        path, count = base.with_name(f"{base.name}-{count}"), count + 1
    return path


def newest_run() -> Path:
    """The run that was worked on last. HeroError, exit code 3, where there is none."""
    root = runs_root()
    found = [path for path in root.glob("*") if is_run(path)]
    if not found:
        raise HeroError(
            f"there is no run in {root}; start one with: hero run --task hands", exit_code=NOT_USABLE
        )
    return max(found, key=_touched)


def _touched(path: Path) -> float:
    times = [path / name for name in ("run.toml", "status.json", "journal.db", "journal.db-wal")]
    return max(file.stat().st_mtime for file in times if file.exists())


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file so that a reader sees the old one or the new, durably."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def flush(descriptor: int) -> None:
    """Push a file's bytes to the disk."""
    os.fsync(descriptor)


def flush_folder(path: Path) -> None:
    """Push a folder's entries (renames) to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        file.write(save({name: each.contiguous() for name, each in tensors.items()}))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read: Callable[[Path], dict[str, Tensor]] = load_file
    try:
        return read(path)
    except (SafetensorError, OSError) as error:
        raise HeroError(f"{path} is damaged: {error}", exit_code=NOT_USABLE) from error
