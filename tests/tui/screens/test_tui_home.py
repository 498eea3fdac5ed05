"""The home screen: start a task, continue a run, rename, note, delete after a question."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Static

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.core.errors import HeroError
from hero_engine.storage.run_folder import RunDir
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.grid_geometry import picture_box
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.home_app import HomeApp
from hero_tui.screens.home_screen import HomeChoice
from hero_tui.session.input_guards import NO_GUARDS, Guards
from hero_tui.session.known_runs import ago, known_runs, rename
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture

TASKS = (Task("hands", "1 hand", success="five fingers"), Task("cup", "a cup", success="blue"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, `one` the newer."""
    monkeypatch.setenv("HERO_RUNS", str(tmp_path))
    for name in ("two", "one"):
        RunDir.create(tmp_path / name, Settings(), TASKS[1])
    return tmp_path


def app_on(guards: Guards = NO_GUARDS) -> HomeApp:
    return HomeApp(TASKS, SymbolPainter(), Terminal(), guards=guards)


def listed(app: HomeApp) -> str:
    return str(app.home.query_one("#home-list", Static).render())


def said(app: HomeApp) -> str:
    return app.home.query_one("#home-message", TextLine).text


async def begun(pilot: Pilot[int]) -> None:
    await pilot.pause()
    await pilot.pause()


async def choose_run(app: HomeApp, pilot: Pilot[int], name: str) -> None:
    for _ in range(5):
        if app.home.run is not None and app.home.run.name == name:
            return
        await pilot.press("down")


async def test_a_task_is_started_and_a_run_is_resumed(runs: Path) -> None:
    for keys, choice in ((("up", "enter"), HomeChoice("start", "cup")), (("enter",), None)):
        app = app_on()
        async with app.run_test(size=(80, 24)) as pilot:
            await begun(pilot)
            assert "hands" in listed(app) and "0 rounds, just now" in listed(app)
            run = app.home.run
            assert run is not None
            await pilot.press(*keys)
        assert app.choice == (choice or HomeChoice("resume", str(run.path)))


async def test_a_run_is_renamed_and_noted(runs: Path) -> None:
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await choose_run(app, pilot, "one")
        await pilot.press("r", *["backspace"] * 3, *"best", "enter")
        await begun(pilot)
        assert (runs / "best").is_dir() and not (runs / "one").exists()
        await choose_run(app, pilot, "best")
        await pilot.press("n", *"dq", "enter")
        await begun(pilot)
        assert (runs / "best" / "note.txt").read_text() == "dq\n"
        await pilot.press("r", "escape")
        assert said(app) == "Nothing is changed." and app.choice is None


async def test_a_run_is_deleted_only_after_a_yes(runs: Path) -> None:
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await choose_run(app, pilot, "one")
        await pilot.press("d")
        assert "y deletes it for good" in said(app)
        await pilot.press("n")
        assert (runs / "one").is_dir()
        assert said(app) == "one is kept." and not app.home.query("#home-entry")
        await pilot.press("d", "y")
        await begun(pilot)
        assert not (runs / "one").exists() and (runs / "two").is_dir()


async def test_keys_that_nobody_meant_for_this_screen_start_and_delete_nothing(runs: Path) -> None:
    """A second Enter after the shell's command; the letters d and y of a paste; a long paste."""
    app = app_on(Guards(menu=60, page=60, quiet=60))
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await pilot.press("enter")
        assert "right as this screen opened" in said(app)
        await choose_run(app, pilot, "one")
        await pilot.press("d", "y")
        assert "is kept: y came too soon" in said(app)
        for letter in "many words of a paste quit":
            key = Key(letter, letter)
            key.time = 1.0
            app.post_message(key)
        await begun(pilot)
        assert app.is_running
    assert app.choice is None and {each.name for each in runs.iterdir()} == {"one", "two"}


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c", "f10"])
async def test_quitting_works_while_a_name_is_typed(runs: Path, key: str) -> None:
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await pilot.press("r", "q", "escape", "r", key)
        await begun(pilot)
    assert app.choice is None and app.return_value == 0


async def test_a_new_size_of_the_cells_gives_the_best_picture_another_box(runs: Path) -> None:
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await pilot.press("f5")
        app.pictures.changed(Terminal(cell=(16, 16)))
        await begun(pilot)
        side, box = app.home.query_one("#home-side").content_size, app.home.query_one(Picture)
        assert box.styles.width is not None and box.styles.height is not None
        wanted = picture_box(side.width, side.height - 5, (16, 16))
        assert (box.styles.width.value, box.styles.height.value) == (wanted.columns, wanted.rows)


async def test_a_letter_that_is_not_latin_names_the_key_that_quits(runs: Path) -> None:
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await pilot.press("й")
        assert "Latin letters" in said(app) and "F10 quits" in said(app)


async def test_actions_that_need_a_round_or_a_run_say_so(runs: Path) -> None:
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await pilot.press("e")
        assert "has not finished a round yet" in said(app)
        await pilot.press("up", "x")
        assert said(app).startswith("This line is a task")
        await pilot.press("q")
    assert app.choice is None and app.return_value == 0


@pytest.mark.parametrize("name", ["", "..", "a/b", "two", "\x1b[31m"])
def test_a_name_that_cannot_be_is_refused(runs: Path, name: str) -> None:
    one = next(run for run in known_runs() if run.name == "one")
    with pytest.raises(HeroError):
        rename(one, name)
    assert (runs / "one").is_dir()


def test_a_damaged_run_is_listed_as_such(runs: Path) -> None:
    (runs / "one" / "run.toml").write_text("format = 'none'")
    found = {run.name: run.brief for run in known_runs()}
    assert found["one"] == "damaged" and found["two"].startswith("0 rounds")


def test_how_long_ago() -> None:
    assert [ago(0, seconds) for seconds in (3, 300, 7300, 200000)] == [
        "just now",
        "5 min ago",
        "2 h ago",
        "2 d ago",
    ]


async def test_a_finished_run_stays_on_the_screen_and_says_how_to_draw_more(runs: Path) -> None:
    (runs / "one" / "status.json").write_text('{"state": "finished"}', "utf-8")
    app = app_on()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await choose_run(app, pilot, "one")
        assert "finished, 0 rounds" in listed(app)
        await pilot.press("enter")
        await pilot.pause()
        assert said(app) == "one is finished. For more: hero resume one --rounds 4"
    assert app.choice is None
