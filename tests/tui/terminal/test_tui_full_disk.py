"""What cannot be written is not shown as given; the person is told, and may try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, opened
from textual.pilot import Pilot

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import Notice, SubmitLabels
from hero_engine.storage.journal import Journal
from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.label_style import LabelStyle
from hero_tui.widgets.text_line import TextLine


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, the journal takes nothing."""

    def refuse(*_: Any, **__: Any) -> None:
        raise HeroError("cannot write journal.db: disk is full", exit_code=ExitCode.ENVIRONMENT)

    with monkeypatch.context() as system:
        for write in ("mark", "submit"):
            system.setattr(Journal, write, refuse)
        yield


def notice(app: HeroApp) -> str:
    return app.labelling.query_one("#notice", TextLine).text


async def sampled(engine: FakeEngine, pilot: Pilot[int]) -> None:
    engine.open()
    engine.phase(0, "sampling")
    engine.images(0, range(engine.batch))
    engine.phase(0, "labelling")
    await pilot.pause()


@pytest.mark.parametrize("key", ["w", "W", "enter", "ctrl+z", "ctrl+y"])
async def test_a_step_that_cannot_be_written_does_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    engine = FakeEngine(tmp_path, 6)
    app = HeroApp(tmp_path, engine, SymbolPainter(), opened=opened(tmp_path, batch=6))
    async with app.run_test(size=(80, 24)) as pilot:
        await sampled(engine, pilot)
        await pilot.press("e", "E", "ctrl+z")
        before = app.labelling_round.session.marks
        with full_disk(monkeypatch):
            await pilot.press(key)
            assert notice(app).startswith("Not marked: cannot write journal.db: disk is full")
            assert app.labelling_round.session.marks == before and not app.labelling_round.submitted
        await pilot.press(key)
        assert app.labelling_round.session.marks != before


async def test_a_round_that_cannot_be_submitted_can_be_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(tmp_path, 6)
    known, at_once = opened(tmp_path, batch=6), Preferences(UiSettings(undo_seconds=0))
    app = HeroApp(
        tmp_path, engine, SymbolPainter(), opened=known, preferences=at_once, guards=NO_GUARDS
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await sampled(engine, pilot)
        await pilot.press("e", "enter")
        with full_disk(monkeypatch):
            await pilot.press("enter")
            assert "disk is full" in notice(app)
            assert not app.labelling_round.submitted and engine.commands == []
        await pilot.press("enter")
        assert app.labelling_round.submitted and engine.commands == [SubmitLabels(0)]


async def test_engine_notices_are_shown_and_stay_when_the_round_opens(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(tmp_path, 6)
    app = HeroApp(tmp_path, engine, SymbolPainter(), opened=opened(tmp_path, batch=6))
    async with app.run_test(size=(80, 24)) as pilot:
        engine.open()
        engine.deliver(Notice("checkpoints/r003 is damaged"))
        engine.phase(0, "sampling")
        await pilot.pause()
        assert notice(app).startswith("checkpoints/r003 is damaged")
        assert app.labelling_round.style_of(0) == LabelStyle.PENDING
