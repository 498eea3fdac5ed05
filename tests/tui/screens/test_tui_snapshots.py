"""Every screen as a picture; look at the report before updating (--snapshot-update)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine, opened
from played_session import BATCH, play
from textual.pilot import Pilot

from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.keyboard.keymap import keymap
from hero_tui.keyboard.tile_keys import tile_keys
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session.input_guards import NO_GUARDS

SCREENS = {
    "marks": (),
    "committed": ("enter", "left"),
    "skipped": ("r", "ctrl+d", "ctrl+l", "left"),
    "cursor": ("tab", "down", "space", "l", "b"),
    "zoom": ("space",),
    "compare": ("ctrl+k",),
    "progress": ("f2",),
    "gallery": ("f3",),
    "help": ("?",),
    "summary": ("f6",),
}
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}


def app_on(folder: Path, engine: FakeEngine, preferences: Preferences | None = None) -> HeroApp:
    known = opened(folder, batch=BATCH)
    app = HeroApp(
        folder,
        engine,
        SymbolPainter(),
        opened=known,
        preferences=preferences,
        guards=NO_GUARDS,
    )
    return app


def before(
    app: HeroApp, engine: FakeEngine, keys: tuple[str, ...]
) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def run(pilot: Pilot[int]) -> None:
        await play(engine, pilot)
        await pilot.press(*keys)
        await pilot.pause()
        await app.uploads.idle()
        await pilot.pause()

    return run


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("keys", SCREENS.values(), ids=SCREENS)
def test_screens(
    snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    assert snap_compare(app, terminal_size=size, run_before=before(app, engine, keys))


@pytest.mark.parametrize("theme", ["solarized-light", "gruvbox"])
def test_another_theme_and_another_keyboard(
    snap_compare: Callable[..., bool], tmp_path: Path, theme: str
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    wide = keymap({}, tile_keys("azerty-wide"))
    app = app_on(tmp_path, engine, Preferences(UiSettings(theme=theme), wide))
    assert snap_compare(app, terminal_size=(120, 40), run_before=before(app, engine, ()))
