"""The runs in the folder of runs, as the home screen shows and changes them. Imports no torch."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hero_engine.core.errors import ExitCode, HeroError, short
from hero_engine.core.events import RoundFinished
from hero_engine.core.numbering import counted
from hero_engine.core.sanitize import sanitized
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, is_run, runs_root
from hero_tui.session.marks_so_far import labels_so_far, marks_not_learned

NOTE, LONGEST_NOTE = "note.txt", 200
DAY, HOUR, MINUTE = 86400, 3600, 60


@dataclass(frozen=True)
class KnownRun:
    """A run's line in the list.

    marked: labels that are saved but not learned, by round. problem: why it cannot be opened,
    else "". finished: its rounds or its labels are used up.
    """

    path: Path
    task: str = ""
    rounds: int = 0
    labels: int = 0
    budget: int = 0
    good_share: float | None = None
    best: Path | None = None
    marked: Mapping[int, int] = field(default_factory=dict)
    note: str = ""
    touched: float = 0.0
    problem: str = ""
    finished: bool = False

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name

    @property
    def brief(self) -> str:
        """Rounds, share of good, marks not learned, and when it was worked on, for a list."""
        if self.problem:
            return "damaged"
        rounds = ("finished, " if self.finished else "") + counted(self.rounds, "round")
        marked = f", {sum(self.marked.values())} marked" if self.marked else ""
        good = "" if self.good_share is None else f", {self.good_share:.0%} good"
        return f"{rounds}{good}{marked}, {ago(self.touched)}"

    @property
    def details(self) -> str:
        """Task, labels and note; or why it cannot be opened."""
        if self.problem:
            return self.problem
        note = f"\n{self.note}" if self.note else ""
        counts = labels_so_far(self.marked, self.labels, self.budget)
        return f"{self.task}: {counts}{note}"


def known_runs() -> list[KnownRun]:
    """Every run, the one that was worked on last first."""
    found = [_known(path) for path in runs_root().glob("*") if is_run(path)]
    return sorted(found, key=lambda run: -run.touched)


def _known(path: Path) -> KnownRun:
    touched = max(map(_modified, (path / "status.json", path / "run.toml", path / "journal.db")))
    try:
        return _opened(RunDir.open(path), touched)
    except HeroError as error:
        return KnownRun(path, touched=touched, problem=error.message)


def _opened(run: RunDir, touched: float) -> KnownRun:
    rounds: list[RoundFinished] = []
    best, marked = None, dict[int, int]()
    if run.journal_path.exists():
        with Journal.reading(run.journal_path) as journal:
            rounds = [RoundFinished(**row) for row in journal.metrics()]
            best = _newest_best(journal, run)
            marked = marks_not_learned(journal, run.settings.batch)
    seen = run.opened()
    return KnownRun(
        run.path,
        task=sanitized(run.task.name),
        rounds=len(rounds),
        labels=seen.labels_used,
        budget=seen.budget,
        good_share=rounds[-1].good_share if rounds else None,
        best=best,
        marked=marked,
        note=_note(run.path),
        touched=touched,
        finished=run.status().get("state") == "finished",
    )


def _newest_best(journal: Journal, run: RunDir) -> Path | None:
    """The newest best picture."""
    for round in reversed(journal.rounds()):
        best = run.labels(journal, round).best
        if best is not None and best in (images := journal.images(round)):
            return run.path / images[best]
    return None


def _note(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return sanitized((path / NOTE).read_text("utf-8").strip())[:LONGEST_NOTE]
    return ""


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def ago(moment: float, now: float | None = None) -> str:
    """How long ago: "just now", "5 min ago", "3 h ago", "2 d ago"."""
    seconds = (time.time() if now is None else now) - moment
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def rename(run: KnownRun, name: str) -> Path:
    """Give the run's folder another name; returns its path. HeroError if that cannot be."""
    name = name.strip()
    if not name or name.startswith(".") or "/" in name or name != sanitized(name):
        raise HeroError(f"{short(name)} is no name for a run: use letters, digits, - and _")
    target = run.path.with_name(name)
    if target.exists():
        raise HeroError(f"there is a run {name} already: choose another name")
    _refuse_in_use(run)
    run.path.rename(target)
    return target


def write_note(run: KnownRun, text: str) -> None:
    """Keep a line about the run in its folder; "" removes it."""
    if text.strip():
        write_atomically(run.path / NOTE, sanitized(text.strip())[:LONGEST_NOTE] + "\n")
    else:
        (run.path / NOTE).unlink(missing_ok=True)


def delete(run: KnownRun) -> None:
    """Delete the run with its pictures and checkpoints. HeroError while it is in use."""
    _refuse_in_use(run)
    shutil.rmtree(run.path)


def _refuse_in_use(run: KnownRun) -> None:
    if not run.problem and RunDir.open(run.path).in_use():
        raise HeroError(f"{run.name} is in use: quit it first", exit_code=ExitCode.RUN)
