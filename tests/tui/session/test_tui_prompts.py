"""A run of several prompts on the screen: each tile says which, and each prompt has a best."""

from dataclasses import replace
from pathlib import Path

from fake_engine import FakeEngine, open_journal, opened, paint
from PIL import Image
from textual.pilot import Pilot

from hero_engine.config.prompts import PromptPlan
from hero_engine.core.events import RoundFinished
from hero_engine.storage.foreign_pictures import input_path
from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.labelling_screen import WHICH_BEST
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.prompt_rounds import rounds_of_prompt
from hero_tui.session.round_summary import round_counts, summary_rows
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.line_chart import Chart
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture

BATCH = 16
PROMPTS = ("a red car", "a blue car")
PLAN = PromptPlan(PROMPTS)
ZOOMED = ("zoom-input", "zoomed")


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
        assert app.labelling.message == app.preferences.keymap.told(WHICH_BEST)
        await pilot.press("enter")
    with open_journal(tmp_path) as book:
        labels = book.labels(0, BATCH, PLAN.groups(0, BATCH))
        assert (labels.bests, labels.goods) == ((1, 8), (0, 1, 8, 9))
        rows = summary_rows([round_counts(book, 0, BATCH, None, PLAN)])
    assert rows[-2:] == [("red", "", "2 of 8 (25%)"), ("blue", "", "2 of 8 (25%)")]


def finished(round: int, *prompts: tuple[int, int, int]) -> RoundFinished:
    """A round with (group, labels, good) of its prompts."""
    names = ("group", "labels", "good")
    rows = tuple({**dict(zip(names, each, strict=True)), "diversity": 1.0} for each in prompts)
    labels, good = (sum(row[name] for row in rows) for name in ("labels", "good"))
    return RoundFinished(
        round, labels, good, 0, 16 * (round + 1), 0.5, 0.1, True, "", {}, {"loss": 0.1}, rows
    )


async def test_charts_are_of_all_prompts_or_of_one(tmp_path: Path) -> None:
    rounds = (finished(0, (0, 8, 2), (1, 8, 6)), finished(1, (1, 16, 12)))
    assert [each.labels_total for each in rounds_of_prompt(rounds, 1)] == [8, 24]
    engine = FakeEngine(tmp_path, BATCH)
    app = HeroApp(tmp_path, engine, SymbolPainter(), guards=NO_GUARDS)
    async with app.run_test(size=(100, 30)) as pilot:
        for prompts in (PROMPTS, ()):
            engine.prompts = prompts
            engine.open(0)
            for event in rounds:
                engine.deliver(event)
            await pilot.pause()
            seen = []
            await pilot.press("f2")
            for key in ("right", "right", "right", "left"):
                await pilot.pause()
                screen = app.screen
                assert isinstance(screen, ProgressScreen)
                title = screen.query_one("#progress-title", TextLine).text
                charts = [(each.heading, each.series[0].last) for each in screen.query(Chart)]
                seen.append((title.partition(":")[0], charts[0]))
                await pilot.press(key)
            keys = app.screen.query_one(KeyFooter).render().plain
            await pilot.press("escape")
            if prompts:
                one, other = ("prompt 1 of 2", ("good", 0.25)), ("prompt 2 of 2", ("good", 0.75))
                assert seen[1:3] == [one, other] and seen[0] == seen[3] != one
                assert seen[0][0].startswith("all 2 prompts") and "next prompt" in keys
            else:
                assert len({*seen}) == 1 and "prompt" not in keys + seen[0][0]


async def test_pictures_of_two_sizes_and_inputs_are_shown_whole(tmp_path: Path) -> None:
    """Captions tell the size, the zoom has the picture's own proportions and input."""
    plan = PromptPlan(("a car",), sizes=((96, 64), (64, 128)), images=("/a/one.png", "/a/two.png"))
    groups = plan.groups(0, BATCH)

    def paint_sized(round: int, image: int) -> Image.Image:
        return paint(round, image).resize(plan.kinds[groups[image]].size or (64, 64))

    for number in range(2):
        paint(0, number).save(input_path(tmp_path, number))
    said = replace(
        opened(tmp_path, batch=BATCH),
        prompt="a car",
        sizes=("96x64", "64x128"),
        input_pictures=plan.images,
    )

    class Engine(FakeEngine):
        def open(self, round: int = 0) -> None:
            self.deliver(said)

    engine = Engine(tmp_path, BATCH, paint_sized)
    app = HeroApp(tmp_path, engine, SymbolPainter(), opened=said, guards=NO_GUARDS)
    async with app.run_test(size=(150, 48)) as pilot:
        await sampled(engine, pilot)
        assert app.labelling_round.short_prompt(0) == "96x64 one"
        assert "96x64" in captions(app)[0] and "64x128" in captions(app)[BATCH - 1]
        assert app.labelling_round.aspect == 96 / 128
        for image, number in ((0, 0), (BATCH - 1, 1)):
            app.labelling.go_to_picture(image)
            await pilot.press("space")
            await pilot.pause()
            before, after = (app.screen.query_one(f"#{name}", Picture) for name in ZOOMED)
            assert before.wanted is not None and after.wanted is not None
            assert before.wanted[0] == input_path(tmp_path, number)
            width, height = after.wanted[1].pixels
            wide, high = plan.kinds[groups[image]].size or (0, 0)
            assert abs(width / height - wide / high) < 0.25
            await pilot.press("escape")


def test_a_picture_that_cannot_be_read_does_not_decide_on_the_proportions(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        current = LabellingRound(journal, tmp_path)
        assert current.aspect == 1.0
        (tmp_path / "damaged.png").write_bytes(b"")
        paint(0, 1).resize((96, 64)).save(tmp_path / "whole.png")
        current.pictures = {0: tmp_path / "damaged.png", 1: tmp_path / "whole.png"}
        assert (current.aspect_of(0), current.aspect_of(1), current.aspect) == (None, 1.5, 1.5)
