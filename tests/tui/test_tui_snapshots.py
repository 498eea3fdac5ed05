"""Every screen as a picture; look at the report before updating (--snapshot-update)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine, opened
from textual.pilot import Pilot

from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.hero_app import HeroApp
from hero_tui.keymap import keymap
from hero_tui.preferences import Preferences
from hero_tui.settings import UiSettings
from hero_tui.tile_keys import tile_keys

BATCH = 64
GOODS = (14, 17, 22, 30)
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
}
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}


def metrics(round: int) -> dict[str, float]:
    """Figures such as the policy gradient reports them."""
    return {
        "reward_auc_before": 0.5 + 0.08 * round,
        "reward_auc": 0.8 + 0.05 * round,
        "diversity": 1.3 - 0.1 * round,
        "clip_fraction": 0.2 + 0.1 * (round % 2),
        "ratio_mean": 1 + 1e-4 * round,
        "approx_kl": 2e-8 * (round + 1),
        "loss": -0.01 * round,
        "prediction_change": 0.02 * (round + 1),
    }


async def play(engine: FakeEngine, pilot: Pilot[int]) -> None:
    """Four rounds are over; the fifth is being drawn, and three pictures are marked."""
    engine.open(4)
    for round, good in enumerate(GOODS):
        engine.past(round, best=7 * round)
        engine.finish_round(round, good, metrics=metrics(round))
    engine.phase(4, "sampling")
    engine.images(4, range(40))
    engine.progress(4, "sample", 40, BATCH)
    await pilot.pause()
    await pilot.press("w", "e", "S")


def app_on(folder: Path, engine: FakeEngine, preferences: Preferences | None = None) -> HeroApp:
    known = opened(folder, batch=BATCH)
    app = HeroApp(folder, engine, SymbolPainter(), opened=known, preferences=preferences)
    app.labelling.held_down = 0.0
    return app


def before(
    app: HeroApp, engine: FakeEngine, keys: tuple[str, ...]
) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def run(pilot: Pilot[int]) -> None:
        await play(engine, pilot)
        await pilot.press(*keys)
        await pilot.pause()
        await app.easel.idle()
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
