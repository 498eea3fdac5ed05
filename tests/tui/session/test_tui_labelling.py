"""The screen under keys, with an engine that does what the test says."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import open_journal
from labelling_app import BATCH, labelling, sampled

from hero_engine.core.events import Failed, Finished, Stop, SubmitLabels
from hero_engine.core.labels import Labels
from hero_tui.app import HeroApp
from hero_tui.screens.end_screen import EndScreen
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.label_style import LabelStyle
from hero_tui.session.next_step import NextStep
from hero_tui.widgets.text_line import TextLine


def label_styles(app: HeroApp) -> list[LabelStyle]:
    assert app.labelling.tiles is not None
    return [tile.caption.label_style for tile in app.labelling.tiles.tiles]


def line(app: HeroApp, name: str) -> str:
    if name == "notice":
        return app.labelling.message
    return app.labelling.query_one(f"#{name}", TextLine).text


def journalled(run_dir: Path, round: int = 0, batch: int = BATCH) -> Labels:
    with open_journal(run_dir) as book:
        return book.labels(round, batch)


async def test_two_pages_are_labelled_committed_and_submitted(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w", "S")
        assert label_styles(app)[:6] == [
            LabelStyle.OPEN,
            LabelStyle.GOOD,
            *[LabelStyle.OPEN] * 3,
            LabelStyle.BEST,
        ]
        await pilot.press("enter")
        assert app.labelling.page == 1
        assert label_styles(app) == [LabelStyle.OPEN] * 8
        assert engine.commands == []
        await pilot.press("f", "enter")
        assert engine.commands == [SubmitLabels(0)]
    good = [False] * BATCH
    good[1] = good[5] = good[15] = True
    assert journalled(tmp_path) == Labels(good=tuple(good), bests=(5,))
    with open_journal(tmp_path) as book:
        assert book.submitted(0)
        assert {row.source for row in book.history(0)} == {"person"}


async def test_pictures_that_were_there_before_the_screen_are_drawn(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (_, engine, pilot):
        await sampled(engine, pilot)
    async with labelling(tmp_path) as (app, _, pilot):
        await app.uploads.idle()
        assert app.labelling.tiles is not None
        assert all(tile.picture.drawing is not None for tile in app.labelling.tiles.tiles)


async def test_a_mark_is_in_the_journal_when_the_caption_shows_it(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("e")
        assert label_styles(app)[2] is LabelStyle.GOOD
        assert journalled(tmp_path).good[2] is True
        await pilot.press("e")
        assert label_styles(app)[2] is LabelStyle.OPEN
        assert journalled(tmp_path).good[2] is None


async def test_undo_and_redo_go_across_pages_and_turn_to_them(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("q", "enter", "ctrl+z")
        assert app.labelling.page == 0
        assert label_styles(app) == [LabelStyle.GOOD] + [LabelStyle.OPEN] * 7
        await pilot.press("backspace")
        assert label_styles(app) == [LabelStyle.OPEN] * 8
        await pilot.press("backspace")
        assert "Nothing to undo" in line(app, "notice")
        await pilot.press("ctrl+y", "ctrl+y")
        assert label_styles(app) == [LabelStyle.GOOD] + [LabelStyle.BAD] * 7


async def test_pictures_can_be_labelled_while_others_are_drawn(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        engine.open()
        engine.phase(0, "sampling")
        engine.images(0, range(4))
        engine.progress(0, "sample", 4, BATCH)
        await pilot.pause()
        assert label_styles(app) == [LabelStyle.OPEN] * 4 + [LabelStyle.PENDING] * 4
        await pilot.press("a", "w", "enter")
        assert (
            label_styles(app)
            == [LabelStyle.BAD, LabelStyle.GOOD, LabelStyle.BAD, LabelStyle.BAD]
            + [LabelStyle.PENDING] * 4
        )
        assert "being drawn" in line(app, "notice")
        assert "4/16" in line(app, "criterion")
        engine.images(0, range(4, BATCH))
        await pilot.pause()
        assert label_styles(app)[4:] == [LabelStyle.OPEN] * 4
        assert "being drawn" not in line(app, "notice")
        await pilot.press("enter", "enter", "enter")
        assert engine.commands == [SubmitLabels(0)]
    assert journalled(tmp_path).good == (False, True, *[False] * 14)


async def test_a_missing_best_is_asked_for_once(tmp_path: Path) -> None:
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("d", "w", "enter")
        assert engine.commands == []
        assert "Which is the best?" in line(app, "notice")
        await pilot.press("enter")
        assert engine.commands == [SubmitLabels(0)]
        assert label_styles(app)[6] is LabelStyle.BEST
    assert journalled(tmp_path, batch=8).best == 6


async def test_an_earlier_good_round_carries_its_best_so_nothing_is_asked(tmp_path: Path) -> None:
    async with labelling(tmp_path, batch=8) as (_, engine, pilot):
        engine.past(0, best=2)
        engine.finish_round(0, good=1)
        await sampled(engine, pilot, round=1)
        await pilot.press("d", "enter")
        assert engine.commands == [SubmitLabels(1)]
    assert journalled(tmp_path, round=1, batch=8).best is None


async def test_keys_answer_while_the_model_learns_and_labels_are_final(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("Q", "enter", "enter")
        engine.phase(0, "training")
        engine.progress(0, "update", 3, 10)
        await pilot.press("w")
        assert "submitted" in line(app, "notice")
        assert "3/10" in line(app, "criterion")
        await pilot.press("ctrl+z")
        assert "final" in line(app, "notice")
        await pilot.press("pageup")
        assert app.labelling.page == 0
        assert label_styles(app) == [LabelStyle.BEST] + [LabelStyle.BAD] * 7
        await pilot.press("space")
        assert isinstance(app.screen, ZoomScreen)
    assert journalled(tmp_path).best == 0


async def test_the_next_round_opens_even_over_the_zoom(tmp_path: Path) -> None:
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("Q", "enter", "space", "?")
        engine.finish_round(0, good=1)
        await sampled(engine, pilot, round=1)
        assert app.screen is app.labelling
        assert label_styles(app) == [LabelStyle.OPEN] * 8
        assert "round 2" in line(app, "status")
        assert "12%" in line(app, "status")


async def test_zoom_marks_its_own_picture_and_leaves_to_its_page(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("f", "space", "right", "right", "b", "escape")
        assert app.labelling.page == 1
        assert label_styles(app)[1] is LabelStyle.BEST
        await pilot.press("ctrl+z", "ctrl+z")
        assert app.labelling.page == 0
    assert journalled(tmp_path).good == (None,) * BATCH


async def test_a_resumed_app_shows_the_same_pictures_and_marks_and_can_undo_them(
    tmp_path: Path,
) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w", "E", "enter", "a", "?", "ctrl+q")
        assert engine.commands == [Stop()]
    assert app.return_value == 75
    async with labelling(tmp_path) as (app, engine, pilot):
        await pilot.pause()
        assert app.labelling.page == 1
        assert label_styles(app)[4] is LabelStyle.GOOD
        await pilot.press("left")
        assert label_styles(app)[:4] == [
            LabelStyle.BAD,
            LabelStyle.GOOD,
            LabelStyle.BEST,
            LabelStyle.BAD,
        ]
        await pilot.press("ctrl+z", "ctrl+z")
        assert app.labelling.page == 0
        assert label_styles(app)[:4] == [
            LabelStyle.OPEN,
            LabelStyle.GOOD,
            LabelStyle.BEST,
            LabelStyle.OPEN,
        ]


async def test_a_round_that_was_submitted_stays_submitted_after_a_resume(tmp_path: Path) -> None:
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("Q", "enter", "ctrl+c")
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        await pilot.press("w")
        assert "submitted" in line(app, "notice")
    assert journalled(tmp_path, batch=8).good[1] is False


async def test_a_flood_of_any_keys_is_harmless(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        engine.open()
        await pilot.press("q", "enter", "ctrl+z", "space", "right", "Q")
        await sampled(engine, pilot)
        await pilot.press(
            "p", "[", "f5", "home", "ctrl+x", "é", "1", "!", "escape", "down", "insert"
        )
        assert label_styles(app) == [LabelStyle.OPEN] * 8
        await pilot.press(*["w"] * 15)
        assert label_styles(app)[1] is LabelStyle.GOOD
        await pilot.press("?", "w", "escape")
        assert label_styles(app)[1] is LabelStyle.GOOD


async def test_a_smaller_terminal_keeps_the_picture_touched_last_in_sight(tmp_path: Path) -> None:
    async with labelling(tmp_path, size=(150, 48)) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("f")
        marked = app.labelling_round.session.marks.goods[0]
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        await pilot.pause()
        images = app.labelling.images
        assert marked in images
        assert label_styles(app)[images.index(marked)] is LabelStyle.GOOD


@pytest.mark.parametrize("reason", ["budget", "rounds"])
async def test_a_finished_run_says_so_and_waits_for_a_key(tmp_path: Path, reason: str) -> None:
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("Q", "enter")
        engine.finish_round(0, good=1)
        engine.deliver(Finished(str(tmp_path), 1, 8, reason))
        await pilot.pause()
        assert "finished" in line(app, "status")
        assert "Ctrl+Q leaves" in line(app, "notice")
        await pilot.press("enter")
        assert isinstance(app.screen, EndScreen)
        await pilot.press("up", "enter")
    assert (app.return_value, app.next_step) == (0, NextStep("quit"))


async def test_a_finished_run_opened_again_shows_its_last_round(tmp_path: Path) -> None:
    async with labelling(tmp_path, batch=8) as (_, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("Q", "enter")
        engine.finish_round(0, good=1)
    async with labelling(tmp_path, batch=8) as (app, engine, pilot):
        engine.open(1)
        engine.deliver(Finished(str(tmp_path), 1, 8, "budget"))
        await pilot.pause()
        assert label_styles(app) == [LabelStyle.BEST] + [LabelStyle.BAD] * 7


async def test_a_failed_engine_ends_the_app_with_its_code(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        engine.deliver(Failed("the model folder has no unet", 5))
        await pilot.pause()
    assert app.return_value == 5
    assert app.state.failed is not None


async def test_clicks_do_what_the_keys_do(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        assert app.labelling.tiles is not None
        await pilot.click(app.labelling.tiles.tiles[3])
        await pilot.click(app.labelling.tiles.tiles[2], button=3)
        assert label_styles(app)[2:4] == [LabelStyle.BEST, LabelStyle.GOOD]


async def test_leaving_while_the_model_is_opened_waits_for_nothing(tmp_path: Path) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        engine.send = lambda command: None  # type: ignore[method-assign]
        app.bridge.stopped = never  # type: ignore[method-assign]
        assert app.state.phase == "opening"
        await pilot.press("ctrl+q")
        await pilot.pause()
    assert app.return_value == 75


async def never(seconds: float) -> bool:
    raise AssertionError("it waited")


async def test_a_picture_has_its_pages_name_in_the_zoom_and_after_a_resize(tmp_path: Path) -> None:
    async with labelling(tmp_path, batch=32, size=(150, 48)) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("e", "space")
        await pilot.pause()
        names = set[str]()
        for size in ((80, 24), (150, 48), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await pilot.pause()
            assert isinstance(app.screen, ZoomScreen)
            shown = app.screen.query_one("#zoom-standing", TextLine).text.split("  ")[0]
            await pilot.press("escape")
            await pilot.pause()
            assert shown == app.labelling.name_of(app.labelling.pages.here)
            names.add(shown)
            await pilot.press("space")
            await pilot.pause()
        assert len(names) == 2
