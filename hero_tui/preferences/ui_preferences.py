"""Preferences of the app: [ui] and [keys] of the settings files, and HERO_UI_* variables.

::

    [ui]
    keyboard = "azerty"           # or rows of keys: "qwer asdf zxcv"
    theme = "nord"
    bell = false

    [keys]
    commit = "ctrl+g"             # the id of an action; a list for several keys
    shift = { "," = ";" }         # what Shift types on a tile's key that is not a letter
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from textual.theme import BUILTIN_THEMES

from hero_engine.config.layers import Layer, merged, sources
from hero_engine.config.validation import known_instead
from hero_engine.core.errors import HeroError
from hero_tui.keyboard.keymap import BEST_ACTIONS, Keymap, keymap
from hero_tui.keyboard.tile_keys import tile_keys
from hero_tui.preferences.settings_sources import UiSettings, layers, ui_settings
from hero_tui.theme import HERO

THEMES = {HERO.name, *BUILTIN_THEMES}


@dataclass(frozen=True)
class Preferences:
    """The preferences of files and environment, checked."""

    ui: UiSettings = field(default_factory=UiSettings)
    keymap: Keymap = field(default_factory=Keymap)


def without_best(chosen: Preferences | None) -> Preferences:
    """The preferences for a blind comparison: no key that names a best picture is listed."""
    chosen = chosen or Preferences()
    return replace(chosen, keymap=replace(chosen.keymap, hidden=BEST_ACTIONS))


def read_preferences() -> Preferences:
    """Read the preferences. HeroError, exit code 2, for a mistake in one of their places."""
    return preferences(layers())


def preferences(found: list[Layer]) -> Preferences:
    """The preferences of these layers. HeroError, with the place, for a mistake."""
    ui, places = ui_settings(found), sources(found)
    if ui.theme not in THEMES:
        instead = known_instead(ui.theme, THEMES)
        raise HeroError(f"{places['ui.theme']}: there is no theme {ui.theme!r}; {instead}")
    try:
        return Preferences(ui, _keymap(ui.keyboard, merged(found).get("keys", {})))
    except HeroError as error:
        said = {place for name, place in places.items() if name.startswith(("keys.", "ui.keyb"))}
        raise HeroError(f"{', '.join(sorted(said))}: {error.message}") from error


def _keymap(keyboard: str, table: Mapping[str, Any]) -> Keymap:
    chosen = {name: _keys(name, value) for name, value in table.items() if name != "shift"}
    return keymap(chosen, tile_keys(keyboard, _shift(table.get("shift", {}))))


def _keys(name: str, value: Any) -> tuple[str, ...]:
    keys = value.split() if isinstance(value, str) else value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise HeroError(f"keys.{name} is {value!r}; it must be a key such as 'f5', or a list")
    return tuple(keys)


def _shift(table: Any) -> dict[str, str]:
    if isinstance(table, Mapping) and all(
        isinstance(value, str) and len(key) == len(value) == 1 for key, value in table.items()
    ):
        return dict(table)
    raise HeroError('keys.shift must be a table of single characters, such as { "," = ";" }')
