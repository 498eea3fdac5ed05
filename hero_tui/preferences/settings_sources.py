"""Settings from outside a command: HERO_* variables over the project's file over the user's.

A setting has one name everywhere. `sampler.steps` is "--set sampler.steps=20" on the command line,
HERO_SAMPLER_STEPS=20 in the environment, and `steps = 20` under [sampler] in either file:
./hero.toml, which belongs to the folder hero is started in, and config.toml in the user's folder.
Besides a run's settings (config.Settings) there are `runs`, the folder of runs; [ui], how the app
looks; and [keys], files only. What is unknown or out of its range is refused, with its place.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from hero_engine.config.old_names import NEW_NAMES, new_name, renamed
from hero_engine.config.settings import Settings, setting_types, with_changes
from hero_engine.config.tasks import Task, load_task, settings_for
from hero_engine.config.toml_file import read_toml
from hero_engine.config.validation import Checked, flat, from_table, known_instead, merge, ranged
from hero_engine.core.errors import HeroError, short
from hero_engine.core.xdg import config_folder
from hero_engine.models.model_sources import model_settings
from hero_tui.output_streams import talk_once

PROJECT_FILE = Path("hero.toml")
PREFIX = "HERO_"
NO_SETTING = {"HERO_DEBUG"}
"""Variables of ours that hold no setting."""


@dataclass(frozen=True)
class UiSettings(Checked):
    """[ui]; every field is also a HERO_UI_ variable."""

    graphics: Literal["auto", "kitty", "iterm", "sixel", "symbols"] = "auto"
    """How pictures are drawn."""
    theme: str = "hero"
    """The colours: "hero", or any of Textual's themes."""
    keyboard: str = "qwerty"
    """The keyboard whose rows lie on the page: qwerty, qwertz, azerty, dvorak or colemak, each with
    "-wide" for ten keys a row; or rows of keys with spaces between."""
    bell: bool = True
    """Ring the terminal's bell when a round is ready."""
    zoom_advance: bool = True
    """In the zoom, a verdict brings the next picture."""
    undo_seconds: float = ranged(3.0, 0, 60)
    """Seconds in which a round that was handed in can be taken back."""
    guide: bool = True
    """Explain: four sentences the first time, a summary after each round, a menu at the end."""
    engine_nice: int = ranged(5, 0, 19)
    """Niceness of the engine's thread in the app; 0 where another busy program takes its cores."""


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


@dataclass(frozen=True)
class Layer:
    """Settings from one place; `name` is the place, for messages."""

    name: str
    values: Mapping[str, Any]


def user_file() -> Path:
    """The user's own settings."""
    return config_folder() / "config.toml"


def layers(environment: Mapping[str, str] | None = None) -> list[Layer]:
    """All places that say something, the strongest last. HeroError, 2, for what is wrong there."""
    said = [*_files(), *_variables(os.environ if environment is None else environment)]
    found = [_renamed(layer) for layer in said]
    for layer in found:
        _check(layer)
    return found


def together(found: Iterable[Layer]) -> dict[str, Any]:
    """What the layers come to, the last one strongest."""
    return reduce(merge, (layer.values for layer in found), {})


def run_settings(found: Iterable[Layer]) -> dict[str, Any]:
    """Of those, the changes of a run's settings."""
    return {name: value for name, value in together(found).items() if name in _RUN_TABLES}


def ui_settings(found: Iterable[Layer]) -> UiSettings:
    """Of those, [ui]."""
    return from_table(UiSettings, together(found).get("ui", {}), "ui")


def sources(found: Iterable[Layer]) -> dict[str, str]:
    """Where the value of each full name was said last."""
    return {name: layer.name for layer in found for name in flat(layer.values)}


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
    """The layer under present names; an old name is told once on stderr."""
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
    """HeroError that names the layer, where one of its names or values is wrong."""
    rest = dict(layer.values)
    ui, keys, runs = rest.pop("ui", {}), rest.pop("keys", {}), rest.pop("runs", "")
    try:
        if unknown := sorted(rest.keys() - _RUN_TABLES):
            instead = known_instead(unknown[0], {*_RUN_TABLES, "ui", "keys", "runs"})
            raise HeroError(f"unknown setting {short(unknown[0])}; {instead}")
        with_changes(Settings(), rest)
        from_table(UiSettings, ui, "ui")
        if not isinstance(keys, Mapping):
            raise HeroError(f"setting 'keys' must be a table, not {short(keys)}")
        if not isinstance(runs, str):
            raise HeroError(f"setting runs is {short(runs)}; allowed is a folder's path")
    except HeroError as error:
        raise HeroError(f"{layer.name}: {error.message}") from error


def choose(found: Iterable[Layer], flags: Mapping[str, Any]) -> tuple[Task, Settings]:
    """The task and settings of a new run: a preset, the kind of model, the task's numbers, the
    layers, the flags.

    HeroError where no task is named, or something named is not there or out of its range.
    """
    said = merge(run_settings(found), flags)
    if not said.get("task"):
        raise HeroError("no task is named: give --task NAME; hero tasks lists those that ship")
    task = load_task(said.pop("task"))
    model = _lasting(said.pop("model", "embedded"))
    config = said["model_config"] = _lasting(said.get("model_config", ""))
    kind = model_settings(model, config)
    return task, settings_for(task, model, said.pop("preset", None), said, kind=kind)


def _lasting(name: str) -> str:
    """A folder or file on this disk by its full path, since a run may be resumed elsewhere."""
    path = Path(name).expanduser()
    return str(path.absolute()) if name and (path.is_dir() or path.is_file()) else name


def use_runs_folder() -> None:
    """Let the engine, which knows only HERO_RUNS, use the folder of runs that the files name."""
    if runs := together(layers()).get("runs"):
        os.environ["HERO_RUNS"] = runs
