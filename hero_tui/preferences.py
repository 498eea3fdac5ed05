"""How a person wants the app: [ui] and [keys] of the settings files, and HERO_UI_* variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hero_engine.config import Checked, from_table


@dataclass(frozen=True)
class UiSettings(Checked):
    """[ui]; every field is also a HERO_UI_ variable."""

    graphics: Literal["auto", "kitty", "sixel", "symbols"] = "auto"
    """How pictures are drawn."""


@dataclass(frozen=True)
class Preferences:
    """What the files and the environment say.

    keys: [keys] as it stands there, the project's file over the user's; unchecked, since only the
    keymap knows what can be bound. keys_from: the place of each, for messages.
    """

    ui: UiSettings = UiSettings()
    keys: Mapping[str, Any] = field(default_factory=dict)
    keys_from: Mapping[str, str] = field(default_factory=dict)


def ui_from(table: Any) -> UiSettings:
    """[ui], checked. HeroError for what is unknown or not allowed."""
    return from_table(UiSettings, table, "ui")


def read_preferences() -> Preferences:
    """The person's preferences. HeroError, exit code 2, where a place says something wrong."""
    from hero_tui.settings import layers, sources, together

    found = layers()
    said, places = together(found), sources(found)
    return Preferences(
        ui=ui_from(said.get("ui", {})),
        keys=said.get("keys", {}),
        keys_from={
            name.removeprefix("keys."): place
            for name, place in places.items()
            if name.startswith("keys.")
        },
    )
