"""How a person wants the app: [ui] and [keys] of the settings files, and HERO_UI_* variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hero_tui.settings import UiSettings, layers, sources, together, ui_settings


@dataclass(frozen=True)
class Preferences:
    """What the files and the environment say.

    keys: [keys] as it stands there, the project's file over the user's; unchecked, since only the
    keymap knows what can be bound. keys_from: the place of each, for messages.
    """

    ui: UiSettings = field(default_factory=UiSettings)
    keys: Mapping[str, Any] = field(default_factory=dict)
    keys_from: Mapping[str, str] = field(default_factory=dict)


def read_preferences() -> Preferences:
    """The person's preferences. HeroError, exit code 2, where a place says something wrong."""
    found = layers()
    keys_from = {
        name.removeprefix("keys."): place
        for name, place in sources(found).items()
        if name.startswith("keys.")
    }
    return Preferences(ui_settings(found), together(found).get("keys", {}), keys_from)
