"""A round that is drawn ahead: it waits until the one being labelled is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine, open_journal
from test_tui_labelling import BATCH, label_styles, labelling, line, sampled
from textual.pilot import Pilot

from hero_engine.core.events import SubmitLabels
from hero_engine.core.labels import Labels
from hero_tui.app import HeroApp
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session.label_style import LabelStyle
from hero_tui.terminal.attention import Attention


async def drawn_ahead(engine: FakeEngine, pilot: Pilot[int], pictures: int = BATCH) -> None:
    """As the engine tells it: the next round's pictures, while this one's are labelled."""
    engine.phase(1, "sampling")
    engine.progress(1, "sample", pictures, BATCH)
    engine.images(1, range(pictures))
    if pictures == BATCH:
        engine.phase(1, "labelling")
    await pilot.pause()


async def submit(pilot: Pilot[int]) -> None:
    """One best on the first page, then both pages."""
    await pilot.press("S", "enter", "enter")
    await pilot.pause()


async def test_the_next_round_stays_behind_the_one_that_is_labelled(tmp_path: Path) -> None:
    async with labelling(tmp_path, size=(120, 24)) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w")
        engine.phase(1, "sampling")
        engine.progress(1, "sample", 0, BATCH)
        await pilot.pause()
        assert "round 1 " in line(app, "status") and "drawing the next" in line(app, "status")
        await drawn_ahead(engine, pilot)
        assert app.labelling_round.round == 0 and label_styles(app)[1] is LabelStyle.GOOD
        assert "round 1 " in line(app, "status") and "your turn" in line(app, "status")


async def test_it_is_there_at_once_and_labelled_while_the_model_learns(tmp_path: Path) -> None:
    async with labelling(tmp_path, size=(120, 24)) as (app, engine, pilot):
        await sampled(engine, pilot)
        await drawn_ahead(engine, pilot)
        await submit(pilot)
        assert engine.commands == [SubmitLabels(0)]
        assert app.labelling_round.round == 1 and len(app.labelling_round.pictures) == BATCH
        assert set(label_styles(app)) == {LabelStyle.OPEN}
        engine.phase(0, "training")
        engine.progress(0, "update", 1, 10)
        await pilot.pause()
        assert "round 2 " in line(app, "status") and "learning from the last" in line(app, "status")
        await pilot.press("q", "D")
        engine.finish_round(0, 1)
        engine.phase(1, "labelling")
        await pilot.pause()
        assert (app.labelling_round.round, app.labelling_round.session.marks.goods) == (1, (0, 6))
        with open_journal(tmp_path) as book:
            assert book.labels(1, BATCH) == Labels(
                tuple(True if i in (0, 6) else None for i in range(BATCH)), (6,)
            )
            assert not book.submitted(1)


async def test_missing_pictures_appear_as_they_are_drawn(tmp_path: Path) -> None:
    """The person was faster than the machine."""
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await drawn_ahead(engine, pilot, pictures=4)
        await submit(pilot)
        assert app.labelling_round.round == 1
        assert label_styles(app) == [LabelStyle.OPEN] * 4 + [LabelStyle.PENDING] * 4
        engine.images(1, range(4, BATCH))
        await pilot.pause()
        assert label_styles(app) == [LabelStyle.OPEN] * 8


async def test_a_round_can_be_taken_back_before_the_next_one_comes(tmp_path: Path) -> None:
    async with labelling(tmp_path, preferences=Preferences(UiSettings(undo_seconds=60))) as (
        app,
        engine,
        pilot,
    ):
        await sampled(engine, pilot)
        await drawn_ahead(engine, pilot)
        await submit(pilot)
        assert app.labelling_round.round == 0 and engine.commands == []
        await pilot.press("ctrl+z")
        assert app.labelling_round.round == 0 and not app.labelling.awaits_submission
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert app.labelling_round.round == 1 and engine.commands == [SubmitLabels(0)]
        await pilot.press("ctrl+z")
        assert "Nothing to undo" in line(app, "notice")


async def test_a_resumed_app_opens_the_round_that_is_not_submitted(tmp_path: Path) -> None:
    """The engine learns from the other round."""
    async with labelling(tmp_path) as (_, engine, pilot):
        await sampled(engine, pilot)
        await drawn_ahead(engine, pilot)
        await submit(pilot)
        await pilot.press("e")
    async with labelling(tmp_path) as (app, engine, pilot):
        assert app.labelling_round.round == 1 and label_styles(app)[2] is LabelStyle.GOOD
        engine.open(0)
        engine.phase(0, "training")
        await pilot.pause()
        assert app.labelling_round.round == 1 and label_styles(app)[2] is LabelStyle.GOOD


async def test_the_bell_rings_for_a_round_that_comes_not_for_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []

    async def play(app: HeroApp, engine: FakeEngine, pilot: Pilot[int]) -> None:
        await sampled(engine, pilot)
        assert rung == [0]
        await drawn_ahead(engine, pilot)
        await submit(pilot)
        engine.phase(0, "training")
        engine.finish_round(0, 1)
        engine.phase(1, "labelling")
        await pilot.pause()
        assert rung == [0]
        await submit(pilot)
        engine.phase(1, "training")
        engine.finish_round(1, 1)
        await sampled(engine, pilot, 2)
        assert rung == [0, 2]

    async with labelling(tmp_path) as (app, engine, pilot):
        monkeypatch.setattr(Attention, "ring", lambda self: rung.append(app.labelling_round.round))
        await play(app, engine, pilot)
