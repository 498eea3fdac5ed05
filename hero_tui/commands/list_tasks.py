"""`hero tasks`. Imports little, so that it answers at once."""

from __future__ import annotations

from dataclasses import asdict

from hero_engine.config.tasks import list_tasks
from hero_tui.output_streams import data_json, say


def tasks(as_json: bool) -> None:
    """Print the tasks that ship."""
    found = list_tasks()
    if as_json:
        data_json([asdict(task) for task in found])
        return
    width = max(len(task.name) for task in found)
    for task in found:
        say(f"{task.name:<{width}}  “{task.prompt}”\n{'':<{width}}  good: {task.success}")
