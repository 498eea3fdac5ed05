"""`hero runs`: the runs in the folder of runs, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hero_engine.core.errors import HeroError
from hero_engine.storage.run_folder import RunDir, runs_by_age, runs_root
from hero_tui.commands.inspect_runs import run_facts
from hero_tui.output_streams import data_json, say, talk
from hero_tui.preferences.settings_sources import use_runs_folder

COLUMNS = ("name", "state", "rounds", "labels", "budget", "task")


def runs(as_json: bool) -> None:
    """Print one line per run, the newest first; a damaged run has the state "damaged"."""
    use_runs_folder()
    rows = [facts(path) for path in runs_by_age()]
    if as_json:
        data_json(rows)
    elif not rows:
        talk(f"no runs in {runs_root()}; start one with: hero run hands")
    else:
        cells = [COLUMNS, *([str(row[name]) for name in COLUMNS] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            say("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())


def facts(path: Path) -> dict[str, Any]:
    """The columns of a run's line."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "-") | {"name": path.name, "run": str(path)}
    try:
        found = run_facts(RunDir.open(path))
    except HeroError as error:
        return row | {"state": "damaged", "problem": error.message}
    return row | {
        "state": found["state"],
        "rounds": len(found["rounds"]),
        "labels": found["labels"],
        "budget": found["budget"],
        "task": found["task"],
    }
