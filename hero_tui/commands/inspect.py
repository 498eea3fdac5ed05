"""`hero tasks`, `hero status`, `hero show`: looking, without torch."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hero_engine.errors import ExitCode, HeroError
from hero_engine.journal import Journal
from hero_engine.labels import Labels
from hero_engine.rundir import RunDir, find_run
from hero_engine.tasks import list_tasks
from hero_tui.commands.output import data, data_json

if TYPE_CHECKING:
    from PIL.Image import Image

TILE_COLUMNS = 18
"""Cells of a picture's width in `hero show`, its gap included."""

SHEET_TILE = 128
GAP = 4


def tasks(as_json: bool) -> None:
    """The tasks that ship."""
    found = list_tasks()
    if as_json:
        data_json([asdict(task) for task in found])
        return
    width = max(len(task.name) for task in found)
    for task in found:
        data(f"{task.name:<{width}}  “{task.prompt}”\n{'':<{width}}  good: {task.success}")


def status(name: str | None, as_json: bool) -> None:
    """Where a run stands."""
    facts = run_facts(RunDir.open(find_run(name)))
    if as_json:
        data_json(facts)
        return
    data(f"{facts['run']}")
    data(f"{facts['state']}, round {facts['round']} ({facts['phase']})")
    data(f"{facts['labels']} of {facts['budget']} labels used")
    if facts.get("good_share") is not None:
        data(f"good in the last finished round: {facts['good_share']:.0%}")
    if facts.get("updated"):
        ago = max(0, time.time() - facts["updated"])
        data(f"last change {ago:.0f} s ago")


def run_facts(run: RunDir) -> dict[str, Any]:
    """status.json, and what the journal and the lock say now.

    state: "new", "running", "stopped", "interrupted" (its process is gone), "finished", "failed".
    """
    seen = run.opened()
    facts: dict[str, Any] = {
        **{name: getattr(seen, name) for name in ("run", "task", "prompt", "model", "budget")},
        "state": "new",
        "round": seen.round,
        "phase": "sampling",
        "labels": seen.labels_used,
        **run.status(),
    }
    facts["run"] = str(run.path)
    facts["labelled_in_round"] = labels_of(run, facts["round"]).labelled
    if run.in_use():
        facts["state"] = "running"
    elif facts["state"] == "running":
        facts["state"] = "interrupted"
    return facts


def labels_of(run: RunDir, round: int) -> Labels:
    """A round's labels so far. HeroError, exit code 4, where the journal cannot be read."""
    batch = run.settings.batch
    if not run.journal_path.exists():
        return Labels((None,) * batch)
    try:
        with Journal(run.journal_path) as journal:
            return journal.labels(round, batch)
    except sqlite3.Error as error:
        raise HeroError(f"{run.journal_path}: {error}", exit_code=ExitCode.RUN) from error


def show(name: str | None, round: int | None) -> None:
    """Print a round's pictures with their labels, a row at a time."""
    run = RunDir.open(find_run(name))
    if run.journal_path.exists():
        with Journal(run.journal_path) as journal:
            at = journal.current()
            chosen = round if round is not None else at[0] if at else 0
            pictures = journal.images(chosen)
    else:
        chosen, pictures = round or 0, {}
    if not pictures:
        raise HeroError(f"{run.path} has no pictures of round {chosen}", exit_code=ExitCode.RUN)
    labels = labels_of(run, chosen)
    columns = shutil.get_terminal_size().columns
    per_row = max(1, columns // TILE_COLUMNS)
    data(f"round {chosen}: {len(labels.goods)} good of {labels.labelled} labelled")
    indices = list(pictures)
    for start in range(0, len(indices), per_row):
        row = indices[start : start + per_row]
        _print_row(_sheet([run.path / pictures[index] for index in row]), len(row) * TILE_COLUMNS)
        data("".join(f"{caption(labels, index):<{TILE_COLUMNS}}" for index in row).rstrip())


def caption(labels: Labels, index: int) -> str:
    """A picture's number and label."""
    words = {True: "good", False: "bad", None: "-"}
    return f"{index + 1} {'best' if labels.best == index else words[labels.good[index]]}"


def _sheet(paths: list[Path]) -> Image:
    """Pictures side by side."""
    from PIL import Image

    sheet = Image.new("RGB", (len(paths) * SHEET_TILE, SHEET_TILE))
    for place, path in enumerate(paths):
        with Image.open(path, formats=["PNG"]) as picture:
            small = picture.convert("RGB").resize((SHEET_TILE - GAP, SHEET_TILE - GAP))
        sheet.paste(small, (place * SHEET_TILE, 0))
    return sheet


def _print_row(sheet: Image, columns: int) -> None:
    """term-image probes the terminal when it is imported, so that happens here and nowhere else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from term_image.image import AutoImage, BlockImage

    kind = AutoImage if sys.stdout.isatty() else BlockImage
    data(str(kind(sheet, width=columns)))
