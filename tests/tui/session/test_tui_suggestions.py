"""Suggestions of a judge of one's own: shown beside labels, never as labels, taken by a key."""

import shlex
import sys
from pathlib import Path

import pytest
from fake_engine import FakeEngine, open_journal, opened

from hero_engine.labelling.judge_source import read_judge_source
from hero_tui.app import HeroApp
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session.input_guards import NO_GUARDS
from hero_tui.session.label_style import LabelStyle

BATCH = 6
FIRST_THREE = (
    "import sys, json\n"
    "for line in sys.stdin:\n"
    "    image = json.loads(line)['image']\n"
    "    print(json.dumps({'image': image, 'label': 'good' if image < 3 else 'bad'}))\n"
)


def app_with(folder: Path, engine: FakeEngine, code: str | None) -> HeroApp:
    words = "" if code is None else shlex.join([sys.executable, "-S", "-c", f"exec({code!r})"])
    return HeroApp(
        folder,
        engine,
        SymbolPainter(),
        opened=opened(folder, batch=BATCH),
        preferences=Preferences(UiSettings(undo_seconds=0)),
        guards=NO_GUARDS,
        judge=read_judge_source(f"command:{words}") if words else None,
    )


def styles(app: HeroApp) -> list[LabelStyle]:
    assert app.labelling.tiles is not None
    return [tile.caption.label_style for tile in app.labelling.tiles.tiles[:BATCH]]


async def label(app: HeroApp, engine: FakeEngine, *keys: str) -> list[LabelStyle]:
    """Draw the round, wait for the judge, press; the captions before the last key."""
    async with app.run_test(size=(120, 36)) as pilot:
        engine.open(0)
        engine.phase(0, "sampling")
        engine.images(0, range(BATCH))
        engine.phase(0, "labelling")
        await pilot.pause()
        # An empty list would mean all workers, and the one for uploads never ends.
        if asked := [worker for worker in app.workers if worker.name == "suggestions"]:
            await app.workers.wait_for_complete(asked)
        await pilot.press(*keys[:-1])
        await pilot.pause()
        before = styles(app)
        await pilot.press(keys[-1])
        await pilot.pause()
    return before


async def test_a_suggestion_is_no_label_until_it_is_taken(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_with(tmp_path, engine, FIRST_THREE)
    before = await label(app, engine, "e", "ctrl+t")
    good, bad = LabelStyle.SUGGESTED_GOOD, LabelStyle.SUGGESTED_BAD
    assert before == [good, good, LabelStyle.GOOD, bad, bad, bad]
    assert good.words.startswith("?") and good.component != LabelStyle.GOOD.component
    with open_journal(tmp_path) as book:
        rows = book.history(0)
        assert [(row.image, row.source[:8]) for row in rows] == [
            (2, "person"),
            (0, "command:"),
            (1, "command:"),
        ]
        assert book.labels(0, BATCH).good == (True, True, True, None, None, None)


async def test_enter_does_not_take_suggestions(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_with(tmp_path, engine, FIRST_THREE)
    await label(app, engine, "e", "enter")
    with open_journal(tmp_path) as book:
        assert book.labels(0, BATCH).goods == (2,)
        assert {row.source for row in book.history(0)} <= {"person", "first good"}


@pytest.mark.parametrize("code", [None, "import sys; sys.exit('no weights')"])
async def test_without_a_judge_that_answers_nothing_is_suggested(
    tmp_path: Path, code: str | None
) -> None:
    engine = FakeEngine(tmp_path, BATCH)
    app = app_with(tmp_path, engine, code)
    before = await label(app, engine, "e", "ctrl+t")
    assert before.count(LabelStyle.OPEN) == BATCH - 1
    assert "suggest" in app.labelling.message
    with open_journal(tmp_path) as book:
        assert book.labels(0, BATCH).goods == (2,)
