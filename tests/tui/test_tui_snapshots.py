"""The labelling screen as a picture; look at the report before updating (--snapshot-update)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine, opened
from textual.pilot import Pilot

from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.hero_app import HeroApp

BATCH = 64


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize(
    "keys",
    [(), ("enter", "left"), ("space",), ("?",)],
    ids=["marks", "committed", "zoom", "help"],
)
def test_screens(
    snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = HeroApp(tmp_path, engine, SymbolPainter(), opened=opened(tmp_path, batch=BATCH))

    async def label(pilot: Pilot[int]) -> None:
        engine.open(4)
        for round, good in enumerate((14, 17, 22, 30)):
            engine.finish_round(round, good)
        engine.phase(4, "sampling")
        engine.images(4, range(40))
        engine.progress(4, "sample", 40, BATCH)
        await pilot.pause()
        await pilot.press("w", "e", "S")
        await pilot.press(*keys)
        await app.easel.idle()
        await pilot.pause()

    run_before: Callable[[Pilot[int]], Awaitable[None]] = label
    assert snap_compare(app, terminal_size=size, run_before=run_before)
