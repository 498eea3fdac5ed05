"""Accidental input changes no label: double Enters, pastes, clicks that raise a window."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st
from test_tui_labelling import BATCH, journalled, label_styles, labelling, line, sampled
from textual.events import AppBlur, AppFocus, Key
from textual.pilot import Pilot
from textual.widgets import Static

from hero_engine.core.events import Finished, Preflight, SubmitLabels
from hero_tui.app import HeroApp
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.end_screen import EndScreen
from hero_tui.screens.preflight_screen import PreflightScreen
from hero_tui.session.input_guards import NO_GUARDS, BurstDetector, Guards, RaisingClick
from hero_tui.session.label_style import LabelStyle
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.text_line import TextLine

SLOW_PAGE = Guards(page=60.0, ask_unmarked=False, burst_keys=1 << 30)
ASKS = Guards(page=0.0, ask_unmarked=True, burst_keys=1 << 30)
PASTES = Guards(page=0.0, ask_unmarked=False, quiet=60.0)


async def test_an_enter_right_after_a_page_turn_does_nothing(tmp_path: Path) -> None:
    async with labelling(tmp_path, guards=SLOW_PAGE) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w", *["enter"] * 9)
        assert app.labelling.page == 1
        assert "right after the page turned" in line(app, "notice")
        assert journalled(tmp_path).labelled == 8
        await pilot.press("left", "enter")
        assert journalled(tmp_path).labelled == 8


async def test_enter_works_at_once_after_a_mark_on_the_new_page(tmp_path: Path) -> None:
    async with labelling(tmp_path, guards=SLOW_PAGE) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w", "enter", "w", "enter", "enter")
        assert journalled(tmp_path).labelled == BATCH
        assert "Which is the best" in line(app, "notice")
        assert engine.commands == []


async def test_a_double_enter_on_the_last_page_does_not_skip_the_time_to_take_it_back(
    tmp_path: Path,
) -> None:
    patient = Preferences(UiSettings(undo_seconds=60))
    async with labelling(tmp_path, batch=8, guards=SLOW_PAGE, preferences=patient) as (
        app,
        engine,
        pilot,
    ):
        await sampled(engine, pilot)
        await pilot.press("Q", "enter", "enter")
        assert app.labelling.awaits_submission and engine.commands == []


async def test_a_page_without_a_mark_asks_once(tmp_path: Path) -> None:
    async with labelling(tmp_path, guards=ASKS) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("enter")
        assert "No mark on this page" in line(app, "notice")
        assert (app.labelling.page, journalled(tmp_path).labelled) == (0, 0)
        await pilot.press("enter")
        assert (app.labelling.page, journalled(tmp_path).labelled) == (1, 8)
        await pilot.press("W", "enter")
        assert engine.commands == [SubmitLabels(0)]


async def test_a_round_without_a_good_picture_is_questioned_before_it_is_submitted(
    tmp_path: Path,
) -> None:
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("enter")
        assert engine.commands == []
        assert "learns nothing from this round" in line(app, "notice")
        await pilot.press("enter")
        assert engine.commands == [SubmitLabels(0)]


async def paste(app: HeroApp, pilot: Pilot[int], text: str, at: float, apart: float = 0.0) -> None:
    """Keys as the driver makes them of one read: all at the same time, or `apart` seconds."""
    for number, character in enumerate(text):
        name = {"\r": "enter", " ": "space", "?": "question_mark"}.get(character, character)
        key = Key(name, None if character == "\r" else character)
        key.time = at + number * apart
        app.post_message(key)
    await pilot.pause()


@pytest.mark.parametrize("text", ["wer\rasd\r\r\r", "q \r?\rasdfg", "QWERQWER\r\r", "\r" * 12])
async def test_an_unbracketed_paste_changes_no_label(tmp_path: Path, text: str) -> None:
    async with labelling(tmp_path, guards=PASTES) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("e")
        before = app.labelling_round.session.marks
        await pilot.pause(0.1)
        await paste(app, pilot, text, at=1e6)
        assert app.labelling_round.session.marks == before
        assert app.screen is app.labelling and engine.commands == []
        assert "came too fast" in line(app, "notice")
    good = [True if i == 2 else None for i in range(BATCH)]
    assert journalled(tmp_path).good == tuple(good)


async def test_quick_typing_is_not_a_paste(tmp_path: Path) -> None:
    """Twenty keys a second, or five in one read of a slow line."""
    async with labelling(tmp_path, guards=PASTES) as (app, engine, pilot):
        await sampled(engine, pilot)
        await paste(app, pilot, "qwerasdf", at=1e6, apart=0.05)
        assert label_styles(app) == [LabelStyle.GOOD] * 8
        await paste(app, pilot, "qwera", at=2e6)
        assert label_styles(app) == [LabelStyle.OPEN] * 5 + [LabelStyle.GOOD] * 3


@given(st.lists(st.floats(0, 10), max_size=40).map(sorted))
def test_fewer_keys_than_a_burst_are_never_one(times: list[float]) -> None:
    detector, guards = BurstDetector(Guards()), Guards()
    for index, now in enumerate(times):
        window = [t for t in times[: index + 1] if now - t <= guards.burst_seconds]
        if len(window) >= guards.burst_keys:
            return
        assert not detector.pressed(now)


async def test_a_click_that_only_raises_the_window_marks_nothing(tmp_path: Path) -> None:
    guards = Guards(page=0.0, focus=60.0, ask_unmarked=False)
    async with labelling(tmp_path, guards=guards) as (app, engine, pilot):
        await sampled(engine, pilot)
        assert app.labelling.tiles is not None
        await pilot.click(app.labelling.tiles.tiles[3])
        assert label_styles(app)[3] is LabelStyle.GOOD
        app.post_message(AppBlur())
        app.post_message(AppFocus())
        await pilot.pause()
        await pilot.click(app.labelling.tiles.tiles[2])
        assert label_styles(app)[2] is LabelStyle.OPEN
        assert "only raised the window" in line(app, "notice")
        await pilot.press("e")
        assert label_styles(app)[2] is LabelStyle.GOOD


@pytest.mark.parametrize(
    ("events", "raised"),
    [
        ("focus 0.0, press 0.1", True),
        ("focus 0.0, press 0.1, time 2.0", True),
        ("press 0.0, focus 0.1", True),
        ("left 0.0, press 9.0", True),
        ("left 0.0, focus 9.0, press 9.1", True),
        ("left 0.0, focus 1.0, press 9.0", False),
        ("press 0.0", False),
        ("focus 0.0, press 0.1, press 5.0", False),
    ],
)
def test_a_click_raises_by_when_the_button_went_down(events: str, raised: bool) -> None:
    now = 0.0
    click = RaisingClick(Guards(), lambda: now)
    for event in events.split(", "):
        what, moment = event.split()
        now = float(moment)
        {"focus": click.focused, "left": click.left, "press": click.pressed}.get(what, float)()
    assert click.raised is raised


async def test_a_changed_best_is_said(tmp_path: Path) -> None:
    async with labelling(tmp_path, guards=NO_GUARDS) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("Q")
        assert "Best is" not in line(app, "notice")
        await pilot.press("W")
        said = line(app, "notice")
        assert "Best is w, page 1 now, no longer q, page 1" in said and "Caps Lock" in said
        await pilot.press("ctrl+z")
        assert label_styles(app)[:2] == [LabelStyle.BEST, LabelStyle.OPEN]


async def test_a_key_of_no_tile_is_said_in_one_line(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        for key, help in (("й", "F10 quits"), ("ω", "F10 quits"), ("5", "F1 shows the keys")):
            await pilot.press(key)
            assert line(app, "notice").startswith(f"{key} is the key of no picture here")
            assert help in app.labelling.message
        await pilot.press("ctrl+щ")
        assert app.labelling.message.startswith("Ctrl+Щ is the key of no picture")
        await pilot.press("w")
        assert "is the key of no" not in line(app, "notice")
    assert journalled(tmp_path).labelled == 1


@pytest.mark.parametrize(
    "opens", [["space"], ["f1"], ["f2"], ["f3"], ["q", "w", "ctrl+k"]], ids=lambda keys: keys[-1]
)
async def test_a_key_that_does_nothing_is_said_on_every_screen(
    tmp_path: Path, opens: list[str]
) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press(*opens)
        footer = app.screen.query_one(KeyFooter)
        keys = str(footer.render())
        await pilot.press("й")
        assert str(footer.render()).startswith("й does nothing here: switch the keyboard")
        assert "F10" in str(footer.render())
        await pilot.press("f5")
        assert str(footer.render()) == keys


async def test_f10_quits(tmp_path: Path) -> None:
    """Ctrl+Q has no control character on a keyboard with other letters."""
    engine: FakeEngine
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("f10")
        await pilot.pause()
    assert app.return_value == 75


async def test_a_quick_enter_chooses_nothing_in_the_menu_at_the_end(tmp_path: Path) -> None:
    guards = Guards(menu=60.0, page=0.0, ask_unmarked=False)
    async with labelling(tmp_path, batch=8, guards=guards) as (app, engine, pilot):
        await sampled(engine, pilot)
        engine.deliver(Finished(str(tmp_path), 1, 8, "budget"))
        await pilot.pause()
        await pilot.press("enter", "enter")
        assert isinstance(app.screen, EndScreen) and app.next_step is None
        assert "as this menu opened" in app.screen.query_one("#end-message", TextLine).text


async def test_a_key_before_the_first_pictures_is_answered(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await pilot.press("w")
        assert "keys mark nothing until the first ones come" in line(app, "notice")
        await sampled(engine, pilot)
        assert "keys mark nothing" not in line(app, "notice")
    assert journalled(tmp_path).labelled == 0


async def test_a_blind_comparison_lists_no_key_of_a_best_picture(tmp_path: Path) -> None:
    async with labelling(tmp_path, blind=True) as (app, engine, pilot):
        await sampled(engine, pilot)
        assert "best" not in app.labelling.query_one(KeyFooter).render().plain
        await pilot.press("?")
        assert "best" not in " ".join(str(part.render()) for part in app.screen.query(Static))
        await pilot.press("escape", "Q")
        assert "no picture is the best" in line(app, "notice")


async def test_a_long_run_asks_before_it_goes_on(tmp_path: Path) -> None:
    guards = Guards(menu=60.0, page=0.0, ask_unmarked=False)
    async with labelling(tmp_path, guards=guards) as (app, engine, pilot):
        engine.open(0)
        engine.deliver(Preflight(10**9, 2 * 10**9, None, 3.0, 64, 8, 800.0))
        await sampled(engine, pilot)
        await pilot.press("enter", "w", "enter")
        assert isinstance(app.screen, PreflightScreen)
        text = " ".join(str(each.render()) for each in app.screen.query(Static))
        assert "8 rounds, about 1 h 59 min" in text and "Ctrl+Q stops" in text
    assert journalled(tmp_path).labelled == 0
