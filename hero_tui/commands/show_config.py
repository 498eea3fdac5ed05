"""`hero config`: what the settings are, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hero_engine.config.presets import PRESETS
from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.config.validation import flat
from hero_engine.models.model_sources import model_settings
from hero_engine.storage.run_folder import runs_root
from hero_tui.output_streams import data_json, say
from hero_tui.preferences.settings_sources import (
    PROJECT_FILE,
    Layer,
    choose,
    layers,
    sources,
    together,
    ui_settings,
    use_runs_folder,
    user_file,
)

VALUE_WIDTH = 24

ANY_TASK = {"task": "hands"}
"""Stands in where no task is named, so that the other settings can be shown."""


def show(flags: dict[str, Any], as_json: bool) -> None:
    """Print every setting a new run would have."""
    use_runs_folder()
    found = layers()
    rows = [*run_rows(found, flags), *other_rows(found)]
    if as_json:
        data_json({name: {"value": value, "from": place} for name, value, place in rows})
        return
    width = max(len(name) for name, _, _ in rows)
    for name, value, place in rows:
        say(f"{name:<{width}}  {json.dumps(value):<{VALUE_WIDTH}}  {place}")


def run_rows(found: Sequence[Layer], flags: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Each setting of a run: full name, value, place."""
    named = sources([*found, Layer("the command line", flags)])
    has_task = "task" in named
    task, settings = choose(found if has_task else [Layer("", ANY_TASK), *found], flags)
    preset = flat(asdict(PRESETS[settings.preset](update=settings.update)))
    if settings.preset == "paper":
        kind = model_settings(settings.model, settings.model_config)
        named = dict.fromkeys(flat(kind), "the kind of model") | named
    plain = flat(asdict(Settings()))
    for name, value in flat(asdict(settings)).items():
        if not has_task and name in ("task", "prompt") and name not in named:
            yield name, "", "not named yet"
        else:
            yield name, value, named.get(name) or _origin(name, task, preset, plain)


def _origin(name: str, task: Task, preset: dict[str, Any], plain: dict[str, Any]) -> str:
    """Who says what no layer says."""
    if name in ("prompt", "batch", "labels"):
        return f"task {task.name}"
    if name == "preset":
        return "follows the model"
    return f"preset {preset['preset']}" if preset[name] != plain[name] else "default"


def other_rows(found: Sequence[Layer]) -> Iterator[tuple[str, Any, str]]:
    """The folder of runs, and the person's preferences."""
    named = sources(found)
    yield "runs", str(runs_root()), named.get("runs", "default")
    for name, value in asdict(ui_settings(found)).items():
        yield f"ui.{name}", value, named.get(f"ui.{name}", "default")
    for name, value in flat(together(found).get("keys", {}), "keys.").items():
        yield name, value, named[name]


def path(as_json: bool) -> None:
    """Print where the settings files are, the strongest last."""
    files = {"user": user_file(), "project": PROJECT_FILE.absolute()}
    if as_json:
        data_json({name: {"path": str(p), "exists": p.is_file()} for name, p in files.items()})
        return
    for name, file in files.items():
        say(f"{name:<8} {file}{'' if file.is_file() else '  (not there)'}")
