"""What a person should know at any moment: the status, whole messages, summaries, the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import FakeEngine, open_journal, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.events import Finished, FixedNoiseReady
from hero_engine.core.labels import Mark
from hero_engine.policy.noise_origins import noise_origins
from hero_engine.policy.noise_prior import FRESH, NoisePrior
from hero_engine.storage.atomic_files import write_png
from hero_engine.storage.foreign_pictures import INPUT
from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.end_screen import EndScreen
from hero_tui.screens.summary_screen import SummaryScreen
from hero_tui.screens.welcome_screen import WelcomeScreen
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.next_step import NextStep
from hero_tui.widgets.message_wrap import shortened, two_rows
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture

BATCH = 16
SIZES = [(80, 24), (120, 36), (150, 48)]
KEYS = {"zoom": "space", "compare": "ctrl+k", "help": "?", "charts": "f2", "gallery": "f3"}


def app_on(folder: Path, engine: FakeEngine, **options: object) -> HeroApp:
    return HeroApp(
        folder,
        engine,
        SymbolPainter(),
        opened=opened(folder, batch=BATCH),
        preferences=Preferences(UiSettings(undo_seconds=0)),
        guards=NO_GUARDS,
        **options,  # type: ignore[arg-type]
    )


async def drawn(engine: FakeEngine, pilot: Pilot[int], round: int = 0) -> None:
    engine.open(round)
    engine.phase(round, "sampling")
    engine.images(round, range(BATCH))
    engine.phase(round, "labelling")
    await pilot.pause()


def status(app: HeroApp) -> str:
    return app.screen.query_one("#status", TextLine).text


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_every_screen_says_whether_it_is_the_persons_turn(tmp_path: Path, key: str) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    async with app.run_test(size=(120, 36)) as pilot:
        await drawn(engine, pilot)
        await pilot.press("q", "W", key)
        await pilot.pause()
        assert app.screen is not app.labelling
        assert "round 1 " in status(app) and "your turn" in status(app)
        await pilot.press("escape", "enter", "enter")
        engine.phase(0, "training")
        engine.progress(0, "embed", 1, 10)
        await pilot.press("?")
        await pilot.pause()
        assert "learning, step 1 of 3" in status(app) and "your turn" not in status(app)


async def test_the_wait_counts_every_step_until_pictures(tmp_path: Path) -> None:
    """By the last round's times: a second of each step in the fake engine's rounds."""
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    async with app.run_test(size=(120, 36)) as pilot:
        engine.finish_round(0, 3)
        await drawn(engine, pilot, 1)
        await pilot.press("W", "enter", "enter")
        engine.phase(1, "training")
        engine.progress(1, "embed", 5, 10)
        await pilot.pause()
        assert "step 1 of 3, about 0:07 to the next pictures" in status(app)
        engine.progress(1, "update", 9, 10)
        await pilot.pause()
        assert "step 2 of 3, about 0:02 to the next pictures" in status(app)


async def test_compare_returns_to_the_page_that_it_was_called_from(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(engine, pilot)
        await pilot.press("q", "w", "right", "ctrl+k", "escape")
        assert app.labelling.page == 1
        await pilot.press("ctrl+k", "right")
        assert app.labelling.page == 1
        assert app.labelling.message == "Best: w, page 1."


async def test_the_zoom_shows_the_criterion_and_the_pictures_name(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(engine, pilot)
        await pilot.press("right", "s", "space")
        await pilot.pause()
        assert "five fingers" in app.screen.query_one("#zoom-criterion", TextLine).text
        said = app.screen.query_one("#zoom-standing", TextLine).text
        assert said.startswith("s, page 2  picture 14 of 16  ● good")


async def test_the_zoom_shows_the_picture_that_was_changed_beside_its_result(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(engine, pilot)
        write_png(tmp_path / INPUT, np.full((64, 64, 3), 200, np.uint8))
        await pilot.press("space")
        await pilot.pause()
        names = "#zoom-input", "#zoomed"
        before, after = (app.screen.query_one(name, Picture) for name in names)
        assert before.wanted is not None and after.wanted is not None
        assert (before.wanted[0], before.wanted[1]) == (tmp_path / INPUT, after.wanted[1])
        assert before.region.right <= after.region.x and after.region.right <= 80


@given(st.text("ab ", max_size=200), st.integers(1, 60), st.integers(10, 90))
def test_a_message_is_whole_if_two_rows_hold_it(text: str, first: int, second: int) -> None:
    head, rest = two_rows(text, first, second)
    assert len(head) <= first and len(rest) <= second
    if "…" not in rest:
        assert "".join(f"{head} {rest}".split()) == "".join(text.split())
    else:
        assert len(text) > second


@given(st.text("ab ", max_size=60), st.integers(1, 40))
def test_a_shortened_message_ends_at_a_word(text: str, width: int) -> None:
    short = shortened(text, width)
    assert len(short) <= width
    assert short == text or short.endswith("…")


@pytest.mark.parametrize("size", SIZES)
async def test_every_message_of_the_page_is_shown_whole(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    async with app.run_test(size=size) as pilot:
        await drawn(engine, pilot)
        for keys in (("ctrl+r",), ("Q", "W"), ("enter",), ("ctrl+q",)):
            await pilot.press(*keys)
            await pilot.pause()
            shown = app.labelling.query_one("#notice", TextLine).text
            rest = app.labelling.query_one("#keys").render()
            whole = f"{shown} {rest.plain}"  # type: ignore[union-attr]
            assert app.labelling.message in whole or app.labelling.message == shown


async def test_the_summary_separates_fresh_and_guided_noise(tmp_path: Path) -> None:
    """Round 2 of 16: four fresh pictures at the end, eight near the best, four near good ones."""
    engine = FakeEngine(tmp_path, BATCH)
    noise = NoiseSettings(fresh_ratio=0.25)
    app = app_on(tmp_path, engine, summaries=True, noise=noise)
    with open_journal(tmp_path) as book:
        for round, goods in ((0, (0, 1, 2)), (1, (0, 1, 2, 9, 13))):
            book.add_round(round)
            marks = [Mark(i, "good" if i in goods else "bad") for i in range(BATCH)]
            book.mark(round, marks, source="person")
    async with app.run_test(size=(80, 24)) as pilot:
        engine.open(1)
        engine.finish_round(0, 3, metrics={"diversity": 1.3})
        engine.past(0, best=0)
        engine.past(1, best=0)
        engine.finish_round(1, 5, metrics={"diversity": 1.2})
        await pilot.press("f6")
        await pilot.pause()
        assert isinstance(app.screen, SummaryScreen)
        text = app.screen.query_one("#summary-figures").render()
        rows = [row.split() for row in str(text).splitlines()]
        assert rows[2] == ["all", "pictures", "3", "of", "16", "(19%)", "5", "of", "16", "(31%)"]
        assert rows[3] == ["fresh", "noise", "3", "of", "16", "(19%)", "1", "of", "4", "(25%)"]
        assert rows[4] == ["guided", "noise", "-", "4", "of", "12", "(33%)"]
        assert "variety 1.20, 1.30 in round 1" in str(text)
        assert "Label the next round" in str(app.screen.query_one("#summary-next").render())
        assert len(app.screen.query("#summary-pictures Horizontal")) == 2
        await pilot.press("enter")
        assert app.screen is app.labelling


async def test_a_summary_follows_a_round_and_keeps_out_of_the_way_of_labelling(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine, summaries=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(engine, pilot)
        await pilot.press("W", "enter", "enter")
        engine.finish_round(0, 1)
        await pilot.pause()
        assert isinstance(app.screen, SummaryScreen)
        await drawn(engine, pilot, 1)
        assert "your turn" in status(app)
        await pilot.press("enter", "w")
        engine.finish_round(0, 1)
        await pilot.pause()
        assert app.screen is app.labelling


async def test_the_summary_shows_the_same_noises_when_they_are_drawn(tmp_path: Path) -> None:
    """They are drawn last, after the round's pictures."""
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine, summaries=True)
    async with app.run_test(size=(80, 24)) as pilot:
        engine.past(0, best=0)
        await drawn(engine, pilot)
        await pilot.press("W", "enter", "enter")
        engine.finish_round(0, 1)
        await drawn(engine, pilot, 1)
        assert isinstance(app.screen, SummaryScreen)
        assert len(app.screen.query("#summary-pictures Horizontal")) == 0
        engine.past(1, best=0)
        engine.deliver(FixedNoiseReady(1))
        await pilot.pause()
        assert len(app.screen.query("#summary-pictures Horizontal")) == 2


async def test_at_the_end_a_menu_offers_what_to_do(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine, summaries=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(engine, pilot)
        engine.finish_round(0, 3)
        engine.deliver(Finished(str(tmp_path), 1, BATCH, "budget"))
        await pilot.pause()
        assert isinstance(app.screen, EndScreen)
        await pilot.press("f6")
        assert "The run is finished" in str(app.screen.query_one("#summary-next", Static).render())
        await pilot.press("escape", "escape")
        assert app.screen is app.labelling
        await pilot.press("enter", "down", "enter")
    assert (app.return_value, app.next_step) == (0, NextStep("export", "comfyui"))


async def test_the_first_time_four_sentences_come_before_the_pictures(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine, welcome=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, WelcomeScreen)
        await drawn(engine, pilot)
        await pilot.press("w", "enter", "w")
        assert app.screen is app.labelling
        assert app.labelling_round.session.marks.goods == (1,)


Stir = Callable[[Screen[object]], Awaitable[None]]


@pytest.mark.parametrize("key", ["", *KEYS.values(), "f6"])
async def test_two_sizes_at_once_do_not_answer_each_other_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """While widgets are mounted in a batch; without a guard the screen never yields to the loop."""
    engine = FakeEngine(tmp_path, BATCH)
    app = app_on(tmp_path, engine)
    laid_out = 0

    def counted(self: Screen[object], size: Size) -> None:
        nonlocal laid_out
        laid_out += 1
        assert laid_out < 200, "the screen answers itself"
        original(self, size)

    async with app.run_test(size=(150, 48)) as pilot:
        await drawn(engine, pilot)
        await pilot.press("q", "W", *([key] if key else []))
        await pilot.pause()
        original = Screen._screen_resized
        monkeypatch.setattr(Screen, "_screen_resized", counted)
        app._begin_batch()
        app._size = Size(60, 20)
        app.screen.post_message(Resize(Size(100, 30), Size(100, 30)))
        app.screen.call_later(lambda: None)
        app.screen.post_message(Resize(Size(60, 20), Size(60, 20)))
        await pilot.pause(0.3)
        app._end_batch()
        await pilot.pause()
        assert app.screen.outer_size == Size(60, 20)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 40),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_the_origins_are_those_that_the_prior_draws(
    count: int, fresh: float, around_best: float, best: bool, goods: bool
) -> None:
    """Noises that equal N(0, I)'s own draws are fresh, and no others."""
    wanted = NoiseSettings(fresh_ratio=fresh, best_image_ratio=around_best)
    shape = (1, 2, 2)
    recorded = torch.full(shape, 5.0)
    prior = NoisePrior(recorded if best else None, recorded[None] if goods else None)
    drawn = prior.draw(count, shape, wanted, 7, 1)
    plain = FRESH.draw(count, shape, wanted, 7, 1)
    same = [bool(torch.equal(a, b)) for a, b in zip(drawn, plain, strict=True)]
    origins = noise_origins(count, wanted, best=best, goods=goods)
    assert [origin == "fresh" for origin in origins] == same
