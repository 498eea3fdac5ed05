"""Settings of files, HERO_* variables and the command line, as layers (`config/layers.py`).

A setting has one name everywhere. `sampler.steps` is "--set sampler.steps=20" on the command line,
HERO_SAMPLER_STEPS=20 in the environment, and `steps = 20` under [sampler] in either file:
./hero.toml, which belongs to the folder hero is started in, and config.toml in the user's folder.
Besides a run's settings (config.Settings) there are `runs`, the folder of runs; [ui], the app; and
[keys], in files only. An unknown name or a value out of range is refused, with its place.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hero_engine.config.layers import Layer, merged
from hero_engine.config.old_names import NEW_NAMES, new_name, renamed
from hero_engine.config.settings import Settings, setting_types, with_changes
from hero_engine.config.tasks import Task, layers_below, load_task
from hero_engine.config.toml_file import read_toml
from hero_engine.config.validation import Checked, from_table, known_instead, number, setting
from hero_engine.core.errors import HeroError, short
from hero_engine.core.xdg import config_folder
from hero_engine.models.model_size import network_parameters
from hero_engine.models.model_sources import model_settings
from hero_tui.output_streams import talk_once

PROJECT_FILE = Path("hero.toml")
PREFIX = "HERO_"
NO_SETTING = {"HERO_DEBUG", "HERO_VIEWER"}
"""Variables of ours that hold no setting."""


@dataclass(frozen=True)
class UiSettings(Checked):
    """[ui]: the app."""

    graphics: Literal["auto", "kitty", "iterm", "sixel", "symbols"] = setting(
        "auto", "How images are drawn in the terminal."
    )
    theme: str = setting("hero", 'Colours: "hero", or the name of a Textual theme.')
    keyboard: str = setting(
        "qwerty",
        "Keyboard whose rows label the page's rows: qwerty, qwertz, azerty, dvorak or colemak, "
        'each also with "-wide" for ten keys a row; or your own rows of keys, separated by spaces.',
    )
    bell: bool = setting(True, "Ring the terminal's bell when a round is ready to label.")
    zoom_advance: bool = setting(True, "In the zoom, a label moves to the next image.")
    undo_seconds: float = number(
        3.0,
        0,
        60,
        "Seconds after the last page in which Ctrl+Z takes it back; then the round is submitted.",
    )
    guide: bool = setting(
        True, "Explain: four sentences the first time, a summary after each round, a closing menu."
    )
    viewer: str = setting(
        "", "Program that Ctrl+O opens a picture in; $HERO_VIEWER or the system's if empty."
    )
    engine_nice: int = number(
        5, 0, 19, "Niceness of the engine's thread while the app runs; 0 on a busy machine."
    )


RUNS_SENTENCE = "Folder of runs."
RUN = setting_types()
TYPES = {**RUN, **setting_types(UiSettings, "ui."), "runs": str}
"""Every setting by its full name, but for the keys."""


def variable_of(name: str) -> str:
    """HERO_SAMPLER_STEPS for sampler.steps."""
    return PREFIX + name.replace(".", "_").upper()


VARIABLES = {variable_of(name): name for name in TYPES}
"""HERO_SAMPLER_STEPS -> sampler.steps."""
OLD_VARIABLES = {variable_of(name): name for name in NEW_NAMES}
"""Variables of old setting names, which are still read."""


def user_file() -> Path:
    """The user's own settings."""
    return config_folder() / "config.toml"


def layers(environment: Mapping[str, str] | None = None) -> list[Layer]:
    """The layers of files and variables, the strongest last. HeroError for a mistake in one."""
    said = [*_files(), *_variables(os.environ if environment is None else environment)]
    found = [_renamed(layer) for layer in said]
    for layer in found:
        _check(layer)
    return found


def ui_settings(found: Iterable[Layer]) -> UiSettings:
    """[ui] of these layers."""
    return from_table(UiSettings, merged(found).get("ui", {}), "ui")


def parsed(name: str, text: str) -> Any:
    """The value of a setting given as text: TOML, or the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return text if TYPES.get(new_name(name)) is str and not isinstance(value, str) else value


def nested(name: str, value: Any) -> dict[str, Any]:
    """{"sampler": {"steps": 20}} for ("sampler.steps", 20)."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


_RUN_TABLES = {name.partition(".")[0] for name in RUN}
_TABLES = {*_RUN_TABLES, "ui", "keys", "runs"}
MODEL_PATHS = {"model", "model_config", "network"}
"""Settings that may be a path."""


def _files() -> Iterator[Layer]:
    for path in (user_file(), PROJECT_FILE):
        if path.is_file():
            yield Layer(str(path), read_toml(path))


def _variables(environment: Mapping[str, str]) -> Iterator[Layer]:
    """One layer a variable; an empty one says nothing."""
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in NO_SETTING or not text:
            continue
        if (name := VARIABLES.get(variable) or OLD_VARIABLES.get(variable)) is None:
            instead = known_instead(variable, (*VARIABLES, *NO_SETTING))
            raise HeroError(f"{variable} is no setting; {instead}")
        yield Layer(variable, nested(name, parsed(name, text)))


def _renamed(layer: Layer) -> Layer:
    """The layer under present names; an old name is printed once on stderr."""
    try:
        values, notes = renamed(layer.values)
    except HeroError as error:
        raise HeroError(f"{layer.name}: {error.message}") from error
    if old := OLD_VARIABLES.get(layer.name):
        notes = (f"use {variable_of(new_name(old))}", *notes[1:])
    for note in notes:
        talk_once(f"{layer.name}: {note}")
    return Layer(layer.name, values)


def _check(layer: Layer) -> None:
    """HeroError that names the layer if one of its names or values is wrong."""
    values = layer.values
    try:
        if unknown := sorted(values.keys() - _TABLES):
            raise HeroError(
                f"unknown setting {short(unknown[0])}; {known_instead(unknown[0], _TABLES)}"
            )
        with_changes(Settings(), _of_run(values))
        from_table(UiSettings, values.get("ui", {}), "ui")
        if not isinstance(keys := values.get("keys", {}), Mapping):
            raise HeroError(f"setting 'keys' must be a table, not {short(keys)}")
        if not isinstance(runs := values.get("runs", ""), str):
            raise HeroError(f"setting runs is {short(runs)}; allowed is a folder's path")
    except HeroError as error:
        raise HeroError(f"{layer.name}: {error.message}") from error


def choose(
    found: Iterable[Layer], flags: Mapping[str, Any], task: Task | None = None
) -> tuple[Task, Settings]:
    """The task and settings of a new run: see `run_layers`."""
    task, all_layers = run_layers(found, flags, task)
    values = merged(all_layers)
    return task, with_changes(Settings(), values | {"task": task.name})


def run_layers(
    found: Iterable[Layer], flags: Mapping[str, Any], task: Task | None = None
) -> tuple[Task, list[Layer]]:
    """The task of a new run, and the layers of its settings, the strongest last.

    task: by default the one that a layer names. HeroError if none does, or something named does not
    exist.
    """
    of_run = (Layer(layer.name, _of_run(layer.values)) for layer in found)
    said = [_lasting(layer) for layer in (*of_run, Layer("the command line", flags))]
    values = merged(said)
    if task is None and not values.get("task"):
        raise HeroError("no task is named: hero run TASK; hero tasks lists the tasks that ship")
    task, model = task or load_task(values["task"]), values.get("model", Settings.model)
    config = values.get("model_config", "")
    below = layers_below(
        task,
        model,
        values.get("preset"),
        update=values.get("update"),
        kind=model_settings(model, config),
        parameters=network_parameters(model, config),
    )
    return task, [*below, *said]


def _lasting(layer: Layer) -> Layer:
    """The layer with models on this disk by their full path, since a run may be resumed from
    another folder."""
    paths = {name: _full_path(layer.values[name]) for name in MODEL_PATHS & layer.values.keys()}
    return Layer(layer.name, {**layer.values, **paths})


def _of_run(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in _RUN_TABLES}


def _full_path(name: Any) -> Any:
    path = Path(str(name)).expanduser()
    return str(path.absolute()) if name and (path.is_dir() or path.is_file()) else name


def use_runs_folder() -> None:
    """Set HERO_RUNS, the only one the engine reads, to the folder of runs that the files name."""
    if runs := merged(layers()).get("runs"):
        os.environ["HERO_RUNS"] = runs
