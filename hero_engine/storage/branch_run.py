"""Branching: a new run that starts with the first rounds of another one.

The other run is not changed. Images, latents and checkpoints are hard-linked if the file system
can, else copied: files of a run are replaced, never modified.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.numbering import number, round_name, rounds_name
from hero_engine.storage.atomic_files import flush_folder, make_folder
from hero_engine.storage.foreign_pictures import INPUTS
from hero_engine.storage.imported_pictures import imported_files
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import FIRST_LORA, RunDir, refuse_taken


def branch(run: RunDir, round: int, path: Path | None = None) -> RunDir:
    """A new run at the start of `round`, with the earlier rounds of `run` and their labels.

    If the round's checkpoint is no longer kept, the rounds since the last kept one are trained
    again. path: a folder that does not exist or is empty; by default one beside the run. HeroError
    if the run has not reached the round (exit code 2), is in use or damaged (4), or the new one
    cannot be written (3).
    """
    if run.in_use():
        raise HeroError(f"{run.path} is in use: stop it first", exit_code=ExitCode.RUN)
    final = (path or _beside(run.path, round)).absolute()
    refuse_taken(final)
    unfinished = final.with_name(f".{final.name}.tmp")
    try:
        _fill(unfinished, run, round)
        unfinished.rename(final)
        flush_folder(final.parent)
    except OSError as error:
        raise HeroError(
            f"cannot write {final}: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return RunDir.open(final)


def _fill(folder: Path, run: RunDir, round: int) -> None:
    with Journal.reading(run.journal_path) as journal:
        learned = [each.round for each in journal.rounds().values() if each.phase == "done"]
        if round > len(learned):
            raise HeroError(
                f"{run.path} has not reached {round_name(round)}: choose from "
                f"{rounds_name(range(len(learned) + 1))}"
            )
        origin = {"branched_from": str(run.path), "branched_at_round": round}
        new = RunDir.create(folder, run.settings, run.task, **origin)
        for source in _shared(run, round):
            _link(source, folder / run.relative(source))
        journal.copy(new.journal_path, round)


def _shared(run: RunDir, round: int) -> Iterator[Path]:
    """Files of the earlier rounds, checkpoints up to the round, the initial LoRA."""
    yield from run.path.glob(FIRST_LORA)
    yield from run.path.glob(INPUTS)
    for before in range(round):
        yield from (run.path / "images" / f"r{before:03}").glob("*.png")
        yield from (run.path / "rounds" / f"r{before:03}").glob("latents.safetensors")
    yield from imported_files(run.path, round)
    for each in run.checkpoints.rounds():
        if each <= round:
            yield from run.checkpoints.path(each).iterdir()


def _link(source: Path, target: Path) -> None:
    make_folder(target.parent)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    flush_folder(target.parent)


def _beside(path: Path, round: int) -> Path:
    """A free name beside the run, with the round's number in it."""
    first = name = f"{path.name}-from-{number(round)}"
    count = 2
    while path.with_name(name).exists():
        name, count = f"{first}-{count}", count + 1
    return path.with_name(name)
