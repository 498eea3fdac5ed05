"""Skip, range, invert, compare, cursor, verdicts in the zoom, other keys, taking a round back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fake_engine import FakeEngine, open_journal, opened
from played_session import GOODS, play
from textual.pilot import Pilot

from hero_engine.core.events import Finished, SubmitLabels
from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.keyboard.keymap import keymap
from hero_tui.keyboard.tile_keys import tile_keys
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.gallery_screen import GalleryScreen
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.label_style import LabelStyle
from hero_tui.widgets.line_chart import Chart
from hero_tui.widgets.text_line import TextLine

BATCH = 16
GOOD, BEST, BAD, OPEN, SKIPPED = (
    LabelStyle.GOOD,
    LabelStyle.BEST,
    LabelStyle.BAD,
    LabelStyle.OPEN,
    LabelStyle.SKIPPED,
)


@asynccontextmanager
async def labelling(
    run_dir: Path, preferences: Preferences | None = None, *, blind: bool = False
) -> AsyncIterator[tuple[HeroApp, FakeEngine, Pilot[int]]]:
    """16 pictures on two pages of eight, all there."""
    engine = FakeEngine(run_dir, BATCH)
    app = HeroApp(
        run_dir,
        engine,
        SymbolPainter(),
        opened=opened(run_dir, batch=BATCH),
        preferences=preferences or Preferences(UiSettings(undo_seconds=0)),
        blind=blind,
        guards=NO_GUARDS,
    )
    async with app.run_test(size=(80, 24)) as pilot:
        engine.open()
        engine.phase(0, "sampling")
        engine.images(0, range(BATCH))
        engine.phase(0, "labelling")
        await pilot.pause()
        yield app, engine, pilot


def label_styles(app: HeroApp) -> list[LabelStyle]:
    """Of all pictures of the round."""
    return [app.labelling_round.style_of(image) for image in range(BATCH)]


def captions(app: HeroApp) -> list[LabelStyle]:
    assert app.labelling.tiles is not None
    return [tile.caption.label_style for tile in app.labelling.tiles.tiles]


def notice(app: HeroApp) -> str:
    return app.labelling.message


def journalled(run_dir: Path) -> tuple[bool | None, ...]:
    with open_journal(run_dir) as book:
        return book.labels(0, BATCH).good


async def test_a_skipped_tile_and_the_rest_of_a_skipped_page_have_no_label(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await pilot.press("w", "ctrl+d", "e", "enter")
        assert label_styles(app)[:8] == [BAD, SKIPPED, GOOD, *[BAD] * 5]
        await pilot.press("S", "ctrl+l")
        assert label_styles(app)[8:] == [*[SKIPPED] * 5, BEST, *[SKIPPED] * 2]
        assert engine.commands == [SubmitLabels(0)]
    expected = [False, None, True, *[False] * 5, *[None] * 5, True, None, None]
    assert journalled(tmp_path) == tuple(expected)


async def test_a_range_goes_from_the_last_mark_to_the_next_letter(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("ctrl+r")
        assert "none yet" in notice(app)
        await pilot.press("w", "ctrl+r", "d")
        assert label_styles(app)[:8] == [OPEN, *[GOOD] * 6, OPEN]
        assert captions(app) == label_styles(app)[:8]
        await pilot.press("ctrl+z")
        assert label_styles(app)[:8] == [OPEN, GOOD, *[OPEN] * 6]
        await pilot.press("ctrl+r", "right", "q")
        assert label_styles(app) == [OPEN, *[GOOD] * 8, *[OPEN] * 7]


async def test_invert_turns_the_page_around_in_one_step(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("w", "r", "ctrl+d", "ctrl+e")
        assert label_styles(app) == [GOOD, OPEN, GOOD, SKIPPED, *[GOOD] * 4, *[OPEN] * 8]
        await pilot.press("ctrl+z")
        assert label_styles(app)[:4] == [OPEN, GOOD, OPEN, SKIPPED]


async def test_a_cursor_moves_over_pages_and_marks(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("tab", "l", "x", "j", "space", "down", "b")
        assert app.labelling.page == 1
        assert label_styles(app) == [OPEN, GOOD, *[OPEN] * 3, GOOD, *[OPEN] * 3, BEST, *[OPEN] * 6]
        await pilot.press("q", "right", "s", "k", "h", "r")
        assert app.labelling.pages.here == 5
        assert label_styles(app)[5:11] == [OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]
        await pilot.press("tab", "q", "left")
        assert app.labelling.page == 1
        assert label_styles(app)[0] is GOOD


async def test_the_caption_shows_the_cursors_tile(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("tab", "l")
        assert app.labelling.tiles is not None
        pointed = [tile.caption.pointed for tile in app.labelling.tiles.tiles]
        assert pointed == [False, True, *[False] * 6]
        assert "▸" in app.labelling.tiles.tiles[1].caption.text


async def test_verdicts_in_the_zoom_bring_the_next_picture(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("space", "g", "x", "b", "s")
        assert isinstance(app.screen, ZoomScreen)
        assert app.screen.image == 4
        assert label_styles(app)[:5] == [GOOD, BAD, BEST, SKIPPED, OPEN]
        await pilot.press("ctrl+z")
        assert (app.screen.image, label_styles(app)[3]) == (3, OPEN)
        await pilot.press("a", "g", "g")
        assert (app.screen.image, label_styles(app)[3]) == (3, OPEN)
        await pilot.press("left", "left", "left", "left", "a", "g")
        assert app.screen.image == 15
        await pilot.press("escape")
        assert app.labelling.page == 1
    assert journalled(tmp_path)[:4] == (True, False, True, None)


async def test_comparing_finds_the_best_in_k_minus_1_keys(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("w", "ctrl+k")
        assert "two good pictures" in notice(app)
        await pilot.press("e", "S", "f", "ctrl+k")
        assert isinstance(app.screen, CompareScreen)
        assert (app.screen.tournament.best, app.screen.tournament.challenger) == (5, 1)
        await pilot.press("right", "left", "right")
        assert app.screen is app.labelling
        assert label_styles(app)[:8] == [OPEN, GOOD, GOOD, OPEN, OPEN, GOOD, OPEN, BEST]


async def test_a_decision_can_be_made_again_and_leaving_keeps_the_best_so_far(
    tmp_path: Path,
) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("q", "w", "e", "ctrl+k", "right")
        assert app.labelling_round.session.marks.best == 1
        await pilot.press("up")
        assert app.labelling_round.session.marks.best is None
        await pilot.press("left", "escape")
        assert app.labelling_round.session.marks.best == 0
        await pilot.press("ctrl+k")
        assert app.labelling.tiles is not None
        await pilot.click("#right-picture")
        assert app.labelling_round.session.marks.best == 1


async def test_a_round_can_be_taken_back_until_learning_starts(tmp_path: Path) -> None:
    async with labelling(tmp_path, Preferences(UiSettings(undo_seconds=60))) as (
        app,
        engine,
        pilot,
    ):
        await pilot.press("Q", "enter", "enter")
        assert "takes it back" in notice(app)
        assert engine.commands == []
        await pilot.press("ctrl+z")
        assert label_styles(app)[8:] == [OPEN] * 8
        await pilot.press("w", "enter")
        await pilot.press("left", "e")
        assert not app.labelling.awaits_submission
        await pilot.press("enter")
        assert app.labelling.awaits_submission
        await pilot.press("enter")
        assert engine.commands == [SubmitLabels(0)]
    assert [i for i, good in enumerate(journalled(tmp_path)) if good] == [0, 2, 9]


async def test_after_its_time_a_round_goes_to_the_engine_by_itself(tmp_path: Path) -> None:
    async with labelling(tmp_path, Preferences(UiSettings(undo_seconds=0.1))) as (_, engine, pilot):
        await pilot.press("Q", "enter", "enter")
        for _ in range(100):
            await pilot.pause(0.05)
            if engine.commands:
                break
        assert engine.commands == [SubmitLabels(0)]


async def test_quitting_submits_a_complete_round(tmp_path: Path) -> None:
    async with labelling(tmp_path, Preferences(UiSettings(undo_seconds=60))) as (_, _, pilot):
        await pilot.press("Q", "enter", "enter", "ctrl+q")
    with open_journal(tmp_path) as book:
        assert book.submitted(0)


async def test_other_keys_do_the_same_and_the_old_ones_nothing(tmp_path: Path) -> None:
    keys = keymap({"commit": ["ctrl+g"], "skip": ["f9"]}, tile_keys("azerty"))
    async with labelling(tmp_path, Preferences(UiSettings(undo_seconds=0), keys)) as (
        app,
        _,
        pilot,
    ):
        await pilot.press("z", "A", "w", "f9")
        assert label_styles(app)[:2] == [SKIPPED, GOOD] or label_styles(app)[:2] == [BEST, SKIPPED]
        await pilot.press("enter")
        assert app.labelling.page == 0
        await pilot.press("ctrl+g")
        assert app.labelling.page == 1


async def test_charts_and_gallery_open_over_the_page_and_go_again(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, 64)
    app = HeroApp(tmp_path, engine, SymbolPainter(), opened=opened(tmp_path, batch=64))
    async with app.run_test(size=(120, 40)) as pilot:
        await play(engine, pilot)
        await pilot.press("f2")
        await pilot.pause()
        assert isinstance(app.screen, ProgressScreen)
        good = app.screen.query(Chart).first()
        assert [y for _, y in good.series[0].points] == [each / 64 for each in GOODS]
        engine.finish_round(4, 33)
        await pilot.pause()
        await pilot.pause()
        assert len(app.screen.query(Chart).first().series[0].points) == 5
        await pilot.press("f2", "f3")
        await pilot.pause()
        assert isinstance(app.screen, GalleryScreen)
        assert [column.round for column in app.screen.shown] == [0, 1, 2, 3, 4]
        assert [column.best is not None for column in app.screen.shown] == [True] * 5
        await pilot.press("escape")
        assert app.screen is app.labelling


@pytest.mark.parametrize(
    ("good", "unlabelled", "enough"),
    [(14, 0, False), (15, 0, True), (16, 0, True), (15, 1, True), (10, 6, False)],
)
async def test_once_nine_of_ten_were_good_it_says_what_more_rounds_cost(
    tmp_path: Path, good: int, unlabelled: int, enough: bool
) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        assert notice(app).startswith("Press the letter of every good one")
        engine.finish_round(0, good, unlabelled=unlabelled)
        engine.phase(1, "sampling")
        engine.images(1, range(BATCH))
        await pilot.pause()
        said = f"{good} of 16 were good; more rounds can cost variety."
        assert (said in notice(app)) == enough
        await pilot.press("a")
        assert (said in notice(app)) == enough  # it stands there the whole round


async def test_a_rounds_note_is_shown_over_the_next_round(tmp_path: Path) -> None:
    """Few good ones, the rest left out: a note, and no share of good, which nobody knows."""
    async with labelling(tmp_path) as (app, engine, pilot):
        note = "none called bad: 12 without a label stand in"
        engine.finish_round(0, 4, note=note, unlabelled=12)
        engine.phase(1, "sampling")
        engine.images(1, range(BATCH))
        await pilot.pause()
        assert notice(app).startswith(note)
        status = app.labelling.query_one("#status", TextLine).text
        assert "good" not in status and "%" not in status
        await pilot.press("f2")
        await pilot.pause()
        titles = [chart.heading for chart in app.screen.query(Chart)]
        assert "reward" in titles and "good" not in titles


async def test_before_the_first_round_the_charts_are_one_line_and_then_come(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await pilot.press("f2")
        await pilot.pause()
        said = app.screen.query_one("#no-charts")
        assert said.render_line(0).text.strip() == "Charts begin with the first finished round."
        engine.finish_round(0, 10)
        await pilot.pause()
        await pilot.pause()
        assert not app.screen.query("#no-charts") and app.screen.query(Chart)


async def test_the_theme_key_tries_the_next_and_every_theme_has_our_colours(
    tmp_path: Path,
) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        before = app.theme
        for _ in app.available_themes:
            await pilot.press("f4")
            assert {"quiet", "faint"} <= app.theme_variables.keys()
        assert app.theme == before


async def test_blind_verdicts_want_no_best_and_end_the_app(tmp_path: Path) -> None:
    async with labelling(tmp_path, blind=True) as (app, engine, pilot):
        await pilot.press("q", "w", "enter", "enter")
        assert engine.commands == [SubmitLabels(0)]
        engine.deliver(Finished(str(tmp_path), 1, BATCH, "rounds"))
        await pilot.pause()
    assert app.return_value == 0


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (480, 130)])
async def test_live_sizes_show_each_picture_in_its_place(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with labelling(tmp_path) as (app, _, pilot):
        await pilot.press("e")
        await pilot.resize_terminal(*size)
        await pilot.pause()
        await pilot.pause()
        await app.uploads.idle()
        tiles = app.labelling.tiles
        assert tiles is not None
        shown = app.labelling.images
        regions = [tile.region for tile in tiles.tiles[: len(shown)]]
        assert all(app.screen.region.contains_region(region) for region in regions)
        assert not any(a.overlaps(b) for a in regions for b in regions if a is not b)
        wanted = [tile.picture.wanted for tile in tiles.tiles[: len(shown)]]
        assert [w and w[0] for w in wanted] == [app.labelling_round.pictures[i] for i in shown]
        assert captions(app)[shown.index(2)] is GOOD
