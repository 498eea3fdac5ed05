"""A run on the disk: layout, lock, checkpoints. Imports no torch until tensors are touched.

::

    RUN/
      run.toml            frozen settings, the task, versions
      journal.db          rounds, images, every mark and undo, metrics
      events.jsonl        the event stream
      status.json         written atomically; what `hero status` reads
      images/r000/000.png …
      rounds/r000/        the round's noises and latents; until it is trained, its trajectories too
      checkpoints/r001/   what round 1 starts from: lora, optimizer, embedding, prior, best, memory

Directories are written beside and renamed into place, so that a kill leaves the old one or the new.
The rename of a checkpoint is the moment at which a round is done.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import tomli_w

from hero_engine import __version__
from hero_engine.config import Settings, from_toml, to_toml
from hero_engine.errors import ExitCode, HeroError
from hero_engine.files import (
    flush_folder,
    read_tensors,
    write_atomically,
    write_beside,
    write_tensors,
)
from hero_engine.journal import Journal
from hero_engine.places import data_folder
from hero_engine.protocol import RunOpened
from hero_engine.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

KEPT_CHECKPOINTS = 2
LOOK = 0.2
"""Seconds to try for the lock, since whoever looks whether a run is in use holds it briefly."""
PRIVATE = 0o700
Parts = dict[str, dict[str, "Tensor"]]


class RunDir:
    """One run's folder. Made by ``create`` or ``open``; ``lock`` it before writing to it."""

    def __init__(self, path: Path, settings: Settings, task: Task) -> None:
        self.path, self.settings, self.task = path.absolute(), settings, task

    @classmethod
    def create(cls, path: Path, settings: Settings, task: Task) -> RunDir:
        """A new run in a folder that does not exist yet, or is empty. HeroError, 4, otherwise."""
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                hint = f"go on with: hero resume {path}" if is_run(path) else "choose another --dir"
                raise HeroError(f"{path} exists already; {hint}", exit_code=ExitCode.RUN)
            path.mkdir(PRIVATE, parents=True, exist_ok=True)
            write_atomically(path / "run.toml", tomli_w.dumps(_tables(settings, task)))
        except OSError as error:
            raise HeroError(
                f"cannot write to {path}: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
            ) from error
        return cls(path, settings, task)

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run. HeroError, exit code 4, where there is none or it is damaged."""
        if not is_run(path):
            raise HeroError(f"{path} is not a run: it has no run.toml", exit_code=ExitCode.RUN)
        try:
            tables = tomllib.loads((path / "run.toml").read_text("utf-8"))
            task = {**tables["task"]}
            task["transfer_prompts"] = tuple(task.get("transfer_prompts", ()))
            return cls(path, from_toml(tomli_w.dumps(tables["settings"])), Task(**task))
        except (ValueError, LookupError, TypeError, AttributeError, OSError, HeroError) as error:
            raise HeroError(
                f"{path}/run.toml is damaged: {error}", exit_code=ExitCode.RUN
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. HeroError, exit code 4, where another one holds it."""
        with self._lock_file() as file:
            if not _try_lock(file, LOOK):
                raise HeroError(f"{self.path} is in use{_owner(file)}", exit_code=ExitCode.RUN)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def in_use(self) -> bool:
        """Whether some process holds the run at this moment."""
        if not (self.path / "lock").exists():
            return False
        with self._lock_file("r") as file:
            return not _try_lock(file)

    def _lock_file(self, mode: str = "a+") -> TextIO:
        try:
            return (self.path / "lock").open(mode, encoding="ascii")  # type: ignore[return-value]
        except OSError as error:
            raise HeroError(
                f"cannot open {self.path}/lock: {error.strerror}", exit_code=ExitCode.RUN
            ) from error

    @property
    def journal_path(self) -> Path:
        """The label journal."""
        return self.path / "journal.db"

    def opened(self) -> RunOpened:
        """What is known of the run without its model: the event that introduces it."""
        finished: list[dict[str, Any]] = []
        round = 0
        if self.journal_path.exists():
            with Journal(self.journal_path) as journal:
                finished = journal.metrics()
                at = journal.current()
                round = 0 if at is None else at[0] + (at[1] == "done")
        settings = self.settings
        return RunOpened(
            run=str(self.path),
            task=self.task.name,
            prompt=settings.prompt,
            success=self.task.success,
            model=settings.model,
            update=settings.update,
            preset=settings.preset,
            batch=settings.batch,
            budget=settings.rounds * settings.batch or settings.labels,
            labels_used=finished[-1]["labels_total"] if finished else 0,
            round=round,
        )

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
        except (ValueError, TypeError, OSError) as error:
            raise HeroError(
                f"{self.path}/status.json cannot be read: {error}", exit_code=ExitCode.RUN
            ) from error

    def picture_path(self, round: int, image: int) -> Path:
        """Where a picture is, or will be."""
        return self.path / "images" / f"r{round:03}" / f"{image:03}.png"

    def save_picture(self, round: int, image: int, pixels_H_W_3: Any) -> None:
        """Write a uint8 picture as PNG, durably."""
        from PIL import Image

        path = self.picture_path(round, image)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(path, lambda file: Image.fromarray(pixels_H_W_3).save(file, "PNG"))

    def relative(self, path: Path) -> str:
        """A path as the journal keeps it, so that the run can be moved."""
        return str(path.relative_to(self.path))

    def save_part(self, round: int, first: int, tensors: Mapping[str, Tensor]) -> None:
        """A minibatch of a round, durably; ``first`` is the index of its first picture."""
        folder = self._round_dir(round)
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / f"part-{first:05}.safetensors", tensors)

    def load_parts(self, round: int) -> dict[int, dict[str, Tensor]]:
        """The round's minibatches so far, in order, by the index of their first picture."""
        files = self._part_files(round)
        return {int(path.stem.removeprefix("part-")): read_tensors(path) for path in files}

    def condense(self, round: int, tensors: Mapping[str, Tensor]) -> None:
        """The round is trained: keep these tensors of it, and no minibatch.

        Where they are kept already, a crash came while minibatches went, and those left are few.
        """
        kept = self._round_dir(round) / "latents.safetensors"
        if not kept.exists():
            write_tensors(kept, tensors)
        for path in self._part_files(round):
            path.unlink()

    def _round_dir(self, round: int) -> Path:
        return self.path / "rounds" / f"r{round:03}"

    def _part_files(self, round: int) -> list[Path]:
        return sorted(self._round_dir(round).glob("part-*.safetensors"))

    def save_checkpoint(
        self, round: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Everything round ``round`` starts from, in one rename; all but the last two then go."""
        folder = self.path / "checkpoints"
        beside, final = folder / f".r{round:03}.tmp", folder / f"r{round:03}"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, tensors in parts.items():
            write_tensors(beside / f"{name}.safetensors", tensors)
        write_atomically(beside / "state.json", json.dumps({"round": round, **state}, indent=1))
        beside.rename(final)
        flush_folder(folder)
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> tuple[Parts, dict[str, Any]] | None:
        """Parts and state of the newest checkpoint; None before the first."""
        found = self._checkpoints()
        if not found:
            return None
        folder = found[-1]
        try:
            state = dict(json.loads((folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise HeroError(f"{folder} is damaged: {error}", exit_code=ExitCode.RUN) from error
        parts = {file.stem: read_tensors(file) for file in sorted(folder.glob("*.safetensors"))}
        return parts, state

    def _checkpoints(self) -> list[Path]:
        found = (self.path / "checkpoints").glob("r[0-9]*")
        return sorted(found, key=lambda folder: int(folder.name.removeprefix("r")))


def _tables(settings: Settings, task: Task) -> dict[str, Any]:
    return {
        "hero": {"version": __version__, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")},
        "task": {name: value for name, value in asdict(task).items() if value is not None},
        "settings": tomllib.loads(to_toml(settings)),
    }


def _try_lock(file: TextIO, patience: float = 0.0) -> bool:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK / 20)
        else:
            return True


def _owner(file: TextIO) -> str:
    """By whom, if the lock file says."""
    file.seek(0)
    pid = file.read(20).strip()
    return f" by another hero (process {pid})" if pid.isdecimal() else " by another hero"


def is_run(path: Path) -> bool:
    """Whether the folder holds a run."""
    return (path / "run.toml").is_file()


def runs_root() -> Path:
    """Where runs go without ``--dir``: $HERO_RUNS, else the XDG data folder."""
    if chosen := os.environ.get("HERO_RUNS"):
        return Path(chosen).expanduser()
    return data_folder() / "runs"


def new_run_path(task: str) -> Path:
    """A folder for a new run: task, date, time; counted up where that is taken."""
    base = runs_root() / f"{task}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = base, 2
    while path.exists():
        path, count = base.with_name(f"{base.name}-{count}"), count + 1
    return path


def find_run(name: str | None) -> Path:
    """A run by its path, by its name in ``runs_root()``, or the newest. HeroError, 4, if none."""
    if name is None:
        return newest_run()
    path = Path(name).expanduser()
    return path if is_run(path) or not is_run(runs_root() / name) else runs_root() / name


def newest_run() -> Path:
    """The run that was worked on last. HeroError, exit code 4, where there is none."""
    root = runs_root()
    found = [path for path in root.glob("*") if is_run(path)]
    if not found:
        raise HeroError(
            f"there is no run in {root}; start one with: hero run --task hands",
            exit_code=ExitCode.RUN,
        )
    return max(found, key=_touched)


def _touched(path: Path) -> float:
    """When it was last written to. Files may vanish meanwhile: SQLite's log, when a run ends."""
    times = [0.0]
    for name in ("run.toml", "status.json", "journal.db", "journal.db-wal"):
        with suppress(FileNotFoundError):
            times.append((path / name).stat().st_mtime)
    return max(times)
