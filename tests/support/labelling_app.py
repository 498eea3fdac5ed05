"""The app with an engine that does what the test says, and a round that is drawn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fake_engine import FakeEngine, Paint, opened, paint
from textual.pilot import Pilot

from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session.input_guards import NO_GUARDS, Guards

BATCH = 16


@asynccontextmanager
async def labelling(
    run_dir: Path,
    *,
    batch: int = BATCH,
    size: tuple[int, int] = (80, 24),
    preferences: Preferences | None = None,
    guards: Guards = NO_GUARDS,
    picture: Paint = paint,
    **options: Any,
) -> AsyncIterator[tuple[HeroApp, FakeEngine, Pilot[int]]]:
    engine = FakeEngine(run_dir, batch, picture)
    app = HeroApp(
        run_dir,
        engine,
        SymbolPainter(),
        opened=opened(run_dir, batch=batch),
        preferences=preferences or Preferences(UiSettings(undo_seconds=0)),
        guards=guards,
        **options,
    )
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, engine, pilot


async def sampled(engine: FakeEngine, pilot: Pilot[int], round: int = 0) -> None:
    engine.open(round)
    engine.phase(round, "sampling")
    engine.images(round, range(engine.batch))
    engine.phase(round, "labelling")
    await pilot.pause()
