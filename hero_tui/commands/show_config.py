"""`hero config`: every setting, its value, where the value comes from, and what the setting is."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hero_engine.config.layers import Layer, merged, sources
from hero_engine.config.settings import Settings, setting_sentences, with_changes
from hero_engine.config.validation import flat
from hero_engine.storage.run_folder import runs_root
from hero_tui.output_streams import data_json, say
from hero_tui.preferences.settings_sources import (
    PROJECT_FILE,
    RUNS_SENTENCE,
    UiSettings,
    layers,
    run_layers,
    ui_settings,
    use_runs_folder,
    user_file,
)

ANY_TASK = Layer("", {"task": "hands"})
"""Used if no task is named, so that the other settings can be shown."""
INDENT = "    "
WIDEST = 100


@dataclass(frozen=True)
class Row:
    """A setting with its value, the place that says so, and its sentence."""

    name: str
    value: Any
    place: str
    sentence: str = ""


def show(flags: dict[str, Any], as_json: bool) -> None:
    """Print every setting a new run would have."""
    use_runs_folder()
    found = layers()
    rows = [*run_rows(found, flags), *other_rows(found)]
    if as_json:
        data_json(
            {
                row.name: {"value": row.value, "from": row.place, "help": row.sentence}
                for row in rows
            }
        )
        return
    width = min(shutil.get_terminal_size().columns, WIDEST)
    for row in rows:
        say(f"{row.name} = {json.dumps(row.value)}  ({row.place})")
        if row.sentence:
            say(textwrap.fill(row.sentence, width, initial_indent=INDENT, subsequent_indent=INDENT))


def run_rows(found: Sequence[Layer], flags: dict[str, Any]) -> Iterator[Row]:
    """The settings of a run."""
    has_task = "task" in sources([*found, Layer("", flags)])
    task, all_layers = run_layers(found if has_task else [ANY_TASK, *found], flags)
    settings = with_changes(Settings(), merged(all_layers) | {"task": task.name})
    places, sentences = sources(all_layers), setting_sentences()
    unnamed = () if has_task else ("task", "prompt", "prompts")
    for name, value in flat(asdict(settings)).items():
        if name in unnamed and places.get(name) in ("", f"task {task.name}"):
            yield Row(name, "", "not named yet", sentences[name])
        else:
            yield Row(name, value, places.get(name, "default"), sentences[name])


def other_rows(found: Sequence[Layer]) -> Iterator[Row]:
    """The folder of runs, and the person's preferences."""
    places, sentences = sources(found), setting_sentences(UiSettings, "ui.")
    yield Row("runs", str(runs_root()), places.get("runs", "default"), RUNS_SENTENCE)
    for name, value in flat(asdict(ui_settings(found)), "ui.").items():
        yield Row(name, value, places.get(name, "default"), sentences[name])
    for name, value in flat(merged(found).get("keys", {}), "keys.").items():
        yield Row(name, value, places[name])


def path(as_json: bool) -> None:
    """Print where the settings files are, the strongest last."""
    files = {"user": user_file(), "project": PROJECT_FILE.absolute()}
    if as_json:
        data_json({name: {"path": str(p), "exists": p.is_file()} for name, p in files.items()})
        return
    for name, file in files.items():
        say(f"{name:<8} {file}{'' if file.is_file() else '  (does not exist)'}")
