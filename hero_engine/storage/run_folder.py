"""The folder of a run: layout, settings, images, tensors. Imports no torch until tensors are used.

::

    RUN/
      run.toml            frozen settings, the task, versions; the last line is their checksum
      journal.db          rounds, images, every mark and undo, metrics
      marks.log           every mark once more, to notice a damaged journal.db-wal
      first-lora.safetensors   the LoRA of --init-lora
      events.jsonl        the event stream
      status.json         written atomically; what `hero status` reads
      images/r000/000.png …
      rounds/r000/        noises and latents of a round; trajectories until it is trained
      checkpoints/r001/   what round 1 starts from: see `checkpoints.py`

Files and folders are written beside and renamed into place, so that a kill leaves the old one or
the new one. The rename of a checkpoint completes a round. Only the journal and run.toml cannot be
made again; everything else can be rebuilt from them, and is if it is damaged.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.core.errors import Damaged, ExitCode, HeroError
from hero_engine.core.events import RunOpened
from hero_engine.core.labels import Labels
from hero_engine.core.xdg import data_folder
from hero_engine.storage.atomic_files import (
    make_folder,
    read_tensors,
    write_atomically,
    write_png,
    write_tensors,
)
from hero_engine.storage.checkpoints import Checkpoint, Checkpoints, Parts, Tell
from hero_engine.storage.file_system import file_system
from hero_engine.storage.journal import Journal
from hero_engine.storage.lock import is_locked, locked
from hero_engine.storage.path_safety import refuse_links
from hero_engine.storage.run_toml import read_run_toml, run_toml

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Parts", "RunDir", "find_run", "is_run", "new_run_path", "newest_run", "runs_root"]

FIRST_LORA = "first-lora.safetensors"
PRIVATE = 0o700
MOST_NAMED = 5
"""Runs that a message names."""


class RunDir:
    """A run's folder, from `create` or `open`; `lock` it before writing to it."""

    def __init__(self, path: Path, settings: Settings, task: Task) -> None:
        self.path, self.settings, self.task = path.absolute(), settings, task
        self.checkpoints = Checkpoints(self.path / "checkpoints", settings.checkpoints)

    @classmethod
    def create(cls, path: Path, settings: Settings, task: Task, **origin: Any) -> RunDir:
        """A new run in a folder that does not exist or is empty; else HeroError, exit code 4.

        origin: further keys of run.toml about where the run comes from.
        """
        try:
            refuse_taken(path)
            path.mkdir(PRIVATE, parents=True, exist_ok=True)
            path.chmod(PRIVATE)
            write_atomically(path / "run.toml", run_toml(settings, task, origin))
        except OSError as error:
            raise HeroError(
                f"cannot write to {path}: {error.strerror}; choose another folder by --dir or "
                "HERO_RUNS",
                exit_code=ExitCode.ENVIRONMENT,
            ) from error
        return cls(path, settings, task)

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open an existing run. HeroError, exit code 4, if there is none or it is damaged."""
        if not is_run(path):
            raise HeroError(f"{path} is not a run: it has no run.toml", exit_code=ExitCode.RUN)
        refuse_links(path)
        run = cls(path, *read_run_toml(path / "run.toml"))
        run._check_journal()
        return run

    def _check_journal(self) -> None:
        """Damaged if there are images but no journal: a new one would hide the loss of labels."""
        with suppress(OSError):
            if self.journal_path.stat().st_size:
                return
        if any((self.path / name).exists() for name in ("images", "rounds", "checkpoints")):
            raise Damaged(
                f"{self.journal_path} is missing or empty, and it has the labels: restore it from"
                " a backup"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. HeroError, exit code 4, if another process holds it."""
        with locked(self.path):
            yield

    def in_use(self) -> bool:
        """Whether a process holds the run now."""
        return is_locked(self.path)

    def shortcomings(self) -> list[str]:
        """What the run's file system lacks, a sentence each."""
        found = file_system(self.path)
        if not found.network:
            return []
        lock = "" if found.locks_shared else "; its locks do not reach other machines"
        return [
            f"{self.path} is on {found.type}: labels go into a rollback journal, which is slower "
            f"and safe there{lock}"
        ]

    def groups(self, round: int) -> tuple[int, ...]:
        """The number of each of a round's pictures' prompt."""
        return self.settings.plan.groups(round, self.settings.batch)

    def labels(self, journal: Journal, round: int) -> Labels:
        """The labels of a round."""
        return journal.labels(round, self.settings.batch, self.groups(round))

    @property
    def journal_path(self) -> Path:
        """The label journal."""
        return self.path / "journal.db"

    def opened(self) -> RunOpened:
        """The event that introduces the run; needs no model."""
        finished: list[dict[str, Any]] = []
        round = 0
        if self.journal_path.exists():
            with Journal.reading(self.journal_path) as journal:
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
            prompts=settings.prompts,
            prompt_starts=settings.prompt_starts,
            prompts_mixed=settings.prompt_order == "mixed",
            sizes=settings.sizes if len(settings.sizes) > 1 else (),
            input_pictures=settings.plan.images,
        )

    def waiting(self) -> int | None:
        """The round whose images are complete and whose labels are not, if there is one."""
        if not self.journal_path.exists():
            return None
        with Journal.reading(self.journal_path) as journal:
            at = journal.current()
            if at is None or at[1] != "labelling" or journal.submitted(at[0]):
                return None
        return at[0]

    def over(self) -> str:
        """Why the run has ended (see `why_over`); empty if it has not.

        A round that has begun is finished first, and a damaged last checkpoint is made again.
        """
        if not self.journal_path.exists():
            return ""
        with Journal.reading(self.journal_path) as journal:
            rounds, metrics = journal.rounds(), journal.metrics()
        if any(each.phase != "done" for each in rounds.values()):
            return ""
        if not rounds or not self.checkpoints.is_whole(len(rounds)):
            return ""
        return why_over(self.settings, len(rounds), metrics[-1]["labels_total"])

    def add_event(self, line: str) -> None:
        """Append a line of JSON to events.jsonl, after ending one that a crash left unfinished."""
        with (self.path / "events.jsonl").open("ab+") as file:
            half = file.tell() and file.seek(-1, os.SEEK_END) and file.read() != b"\n"
            file.write(b"\n" * bool(half) + line.encode() + b"\n")

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace status.json."""
        write_atomically(self.path / "status.json", json.dumps(status, indent=1))

    def status(self) -> dict[str, Any]:
        """The content of status.json; empty before the engine first opened the run."""
        try:
            return dict(json.loads((self.path / "status.json").read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, OSError) as error:
            raise HeroError(
                f"{self.path}/status.json cannot be read: {error}", exit_code=ExitCode.RUN
            ) from error

    def picture_path(self, round: int, image: int) -> Path:
        """Path of an image, whether it exists or not."""
        return self.path / "images" / f"r{round:03}" / f"{image:03}.png"

    def save_picture(self, round: int, image: int, pixels_H_W_3: Any) -> None:
        """Write a uint8 image as PNG, durably."""
        write_png(self.picture_path(round, image), pixels_H_W_3)

    def has_picture(self, round: int, image: int) -> bool:
        """Whether the image is on the disk and intact, by the checksums in a PNG."""
        from PIL import Image

        try:
            with Image.open(self.picture_path(round, image), formats=["PNG"]) as picture:
                picture.verify()
        except Exception:  # Pillow raises whatever the damage leads it to
            return False
        return True

    def relative(self, path: Path) -> str:
        """A path as the journal stores it: relative, so that the run can be moved."""
        return str(path.relative_to(self.path))

    def save_part(self, round: int, first: int, tensors: Mapping[str, Tensor]) -> None:
        """Write a part of a round, durably; `first` is the index of its first image."""
        folder = self._round_dir(round)
        make_folder(folder)
        write_tensors(folder / f"part-{first:05}.safetensors", tensors)

    def load_parts(self, round: int, tell: Tell | None = None) -> dict[int, dict[str, Tensor]]:
        """The parts of a round so far, in order, by the index of their first image.

        A damaged part is left out, and `tell` gets a line; without `tell`, Damaged is raised.
        """
        parts = {}
        for path in self._part_files(round):
            try:
                parts[_first(path)] = read_tensors(path)
            except Damaged as error:
                if tell is None:
                    raise
                tell(f"{error.message}: its images are generated again")
        return parts

    def latents_file(self, round: int, image: int) -> tuple[str, int] | None:
        """File (relative to the run) and row of an image's noise and latent."""
        kept = self._round_dir(round) / "latents.safetensors"
        if kept.exists():
            return self.relative(kept), image
        for path in reversed(self._part_files(round)):
            if (first := _first(path)) <= image:
                return self.relative(path), image - first
        return None

    def condense(self, round: int, tensors: Mapping[str, Tensor] | None) -> None:
        """Keep these tensors of a trained round, and remove its parts.

        If they are kept already, a crash interrupted the removal, and the remaining parts go.
        """
        if tensors is not None and self.condensed(round) is None:
            write_tensors(self._round_dir(round) / "latents.safetensors", tensors)
        for path in self._part_files(round):
            path.unlink()

    def condensed(self, round: int) -> dict[str, Tensor] | None:
        """What `condense` kept; None if there is nothing intact."""
        with suppress(Damaged):
            return read_tensors(self._round_dir(round) / "latents.safetensors")
        return None

    def _round_dir(self, round: int) -> Path:
        return self.path / "rounds" / f"r{round:03}"

    def _part_files(self, round: int) -> list[Path]:
        files = self._round_dir(round).glob("part-*.safetensors")
        return sorted(path for path in files if path.stem.removeprefix("part-").isdecimal())

    def save_first_lora(self, state: Mapping[str, Tensor]) -> None:
        """Write the LoRA that the run starts from."""
        write_tensors(self.path / FIRST_LORA, state)

    def first_lora(self) -> dict[str, Tensor] | None:
        """The LoRA that the run starts from; None if it starts from new weights."""
        return read_tensors(self.path / FIRST_LORA) if self.settings.lora.init else None

    def save_checkpoint(
        self, round: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Save what `round` starts from, in one rename; the oldest checkpoints are then removed."""
        self.checkpoints.save(round, parts, state)

    def load_checkpoint(self, tell: Tell | None = None) -> Checkpoint | None:
        """Parts and state of the newest checkpoint; None before the first: `Checkpoints.newest`."""
        return self.checkpoints.newest(tell)


def why_over(settings: Settings, rounds: int, labels: int) -> str:
    """Why a run has ended after this many rounds and labels: "rounds", "budget", or empty."""
    if settings.rounds:
        return "rounds" if rounds >= settings.rounds else ""
    return "budget" if labels >= settings.labels else ""


def refuse_taken(path: Path) -> None:
    """HeroError, exit code 4, if the folder for a new run is not empty."""
    if path.exists() and (not path.is_dir() or {*path.iterdir()} - {path / "run.toml.tmp"}):
        hint = f"continue it: hero resume {path}" if is_run(path) else "choose another --dir"
        raise HeroError(f"{path} exists; {hint}", exit_code=ExitCode.RUN)


def _first(part: Path) -> int:
    """Index of a part's first image."""
    return int(part.stem.removeprefix("part-"))


def is_run(path: Path) -> bool:
    """Whether the folder is a run."""
    return (path / "run.toml").is_file()


def runs_root() -> Path:
    """The folder of runs: $HERO_RUNS, else in the XDG data folder."""
    if chosen := os.environ.get("HERO_RUNS"):
        return Path(chosen).expanduser()
    return data_folder() / "runs"


def new_run_path(task: str) -> Path:
    """A folder for a new run: task, date, time, and a number if that exists."""
    base = runs_root() / f"{task}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = base, 2
    while path.exists():
        path, count = base.with_name(f"{base.name}-{count}"), count + 1
    return path


def find_run(name: str | None) -> Path:
    """The run with this path, or this name in ``runs_root()`` or the start of one; the newest if
    None. HeroError, exit code 4, if there is none, or several begin so."""
    if name is None:
        return newest_run()
    path = Path(name).expanduser()
    if is_run(path) or path.exists() or "/" in name:
        return path
    if is_run(runs_root() / name):
        return runs_root() / name
    found = [each for each in runs_by_age() if each.name.startswith(name)] if name else []
    if len(found) > 1:
        names = ", ".join(each.name for each in found[:MOST_NAMED])
        raise HeroError(
            f"{len(found)} runs begin with {name}: {names}; type more of the name",
            exit_code=ExitCode.RUN,
        )
    return found[0] if found else path


def newest_run() -> Path:
    """The run that was worked on last. HeroError, exit code 4, if there is none."""
    found = runs_by_age()
    if not found:
        raise HeroError(
            f"there is no run in {runs_root()}; start one with: hero run hands",
            exit_code=ExitCode.RUN,
        )
    return found[0]


def runs_by_age() -> list[Path]:
    """The runs in ``runs_root()``, the one that was worked on last first."""
    return sorted(filter(is_run, runs_root().glob("*")), key=_touched, reverse=True)


def _touched(path: Path) -> float:
    """When a run was last written to. SQLite's log may vanish meanwhile, when a run ends."""
    times = [0.0]
    for name in ("run.toml", "status.json", "journal.db", "journal.db-wal"):
        with suppress(FileNotFoundError):
            found = (path / name).stat()
            if found.st_size:  # a reader leaves an empty log, and has not worked on the run
                times.append(found.st_mtime)
    return max(times)
