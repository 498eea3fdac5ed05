"""A run of several prompts on the screen: each tile says which, and each prompt has a best."""

from pathlib import Path

from fake_engine import FakeEngine, open_journal, opened
from textual.pilot import Pilot

from hero_engine.config.prompts import PromptPlan
from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.labelling_screen import WHICH_BEST
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.round_summary import round_counts, summary_rows
from hero_tui.widgets.text_line import TextLine

BATCH = 16
PROMPTS = ("a red car", "a blue car")
PLAN = PromptPlan(PROMPTS)


def captions(app: HeroApp) -> list[str]:
    assert app.labelling.tiles is not None
    return [tile.caption.text for tile in app.labelling.tiles.tiles]


def criterion(app: HeroApp) -> str:
    return app.labelling.query_one("#criterion", TextLine).text


async def sampled(engine: FakeEngine, pilot: Pilot[int]) -> None:
    engine.open(0)
    engine.phase(0, "sampling")
    engine.images(0, range(BATCH))
    engine.phase(0, "labelling")
    await pilot.pause()


async def test_tiles_say_their_prompt_and_each_prompt_has_its_best(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    engine.prompts = PROMPTS
    app = HeroApp(
        tmp_path,
        engine,
        SymbolPainter(),
        opened=opened(tmp_path, batch=BATCH, prompts=PROMPTS),
        preferences=Preferences(UiSettings(undo_seconds=0)),
        guards=NO_GUARDS,
    )
    async with app.run_test(size=(100, 24)) as pilot:
        await sampled(engine, pilot)
        assert all("red" in text for text in captions(app)[:8]) and "a red car" in criterion(app)
        await pilot.press("Q", "w", "W")
        assert app.labelling_round.session.marks.bests == (1,)
        assert "Best is w, page 1 now, no longer q, page 1." in app.labelling.message
        while app.labelling.pages.here < 8:
            await pilot.press("right")
            await pilot.pause()
        assert "a blue car" in criterion(app) and "blue" in captions(app)[-1]
        for image in (8, 9):
            app.labelling_round.session.toggle_good(image)
        assert app.labelling_round.best_missing
        app.labelling_round.session.commit(range(BATCH))
        await pilot.press("enter")
        assert app.labelling.message == WHICH_BEST
        await pilot.press("enter")
    with open_journal(tmp_path) as book:
        labels = book.labels(0, BATCH, PLAN.groups(0, BATCH))
        assert (labels.bests, labels.goods) == ((1, 8), (0, 1, 8, 9))
        rows = summary_rows([round_counts(book, 0, BATCH, None, PLAN)])
    assert rows[-2:] == [("red", "", "2 of 8 (25%)"), ("blue", "", "2 of 8 (25%)")]
