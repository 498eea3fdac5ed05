"""The run that a command names."""

from __future__ import annotations

from hero_engine.storage.run_folder import RunDir, find_run
from hero_tui.preferences.settings_sources import use_runs_folder


def open_run(name: str | None) -> RunDir:
    """Open a run by its folder or name, or the newest. HeroError, exit code 4, if there is none."""
    use_runs_folder()
    return RunDir.open(find_run(name))
