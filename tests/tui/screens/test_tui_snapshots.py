"""Every screen as a picture; look at the report before updating (--snapshot-update)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine, opened, paint
from played_session import BATCH, play
from textual.pilot import Pilot

from hero_engine.config.tasks import list_tasks
from hero_engine.core.events import Finished, Preflight
from hero_tui.app import HeroApp
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.home_app import HomeApp
from hero_tui.keyboard.keymap import keymap
from hero_tui.keyboard.tile_keys import tile_keys
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session import known_runs
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.known_runs import KnownRun

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


def app_on(
    folder: Path,
    engine: FakeEngine,
    preferences: Preferences | None = None,
    **options: bool,
) -> HeroApp:
    known = opened(folder, batch=BATCH)
    app = HeroApp(
        folder,
        engine,
        SymbolPainter(),
        opened=known,
        preferences=preferences,
        guards=NO_GUARDS,
        **options,  # type: ignore[arg-type]
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


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("screen", ["welcome", "end", "preflight"])
def test_screens_around_a_run(
    snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int], screen: str
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine, welcome=screen == "welcome", summaries=True)

    async def run(pilot: Pilot[int]) -> None:
        await pilot.pause()
        if screen == "end":
            await play(engine, pilot)
            engine.deliver(Finished(str(tmp_path), 4, 256, "budget"))
        elif screen == "preflight":
            engine.open(0)
            engine.deliver(Preflight(860_000_000, 2 * 10**9, 24 * 10**9, 3.1, 64, 8, 420.0))
        await pilot.pause()
        await app.uploads.idle()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_home_screen(
    snap_compare: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    monkeypatch.setattr(known_runs, "ago", lambda touched: "2 h ago")
    best = tmp_path / "best.png"
    paint(0, 5).save(best)
    runs = [
        KnownRun(tmp_path / "hands-2026", "hands", 3, 192, 512, 0.69, best, marked={3: 23}),
        KnownRun(tmp_path / "broken", problem="run.toml is damaged"),
    ]
    app = HomeApp(list_tasks(), SymbolPainter(), Terminal(), runs=lambda: runs)

    async def run(pilot: Pilot[int]) -> None:
        await pilot.pause()
        await app.uploads.idle()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("theme", ["solarized-light", "gruvbox"])
def test_another_theme_and_another_keyboard(
    snap_compare: Callable[..., bool], tmp_path: Path, theme: str
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    wide = keymap({}, tile_keys("azerty-wide"))
    app = app_on(tmp_path, engine, Preferences(UiSettings(theme=theme), wide))
    assert snap_compare(app, terminal_size=(120, 40), run_before=before(app, engine, ()))
