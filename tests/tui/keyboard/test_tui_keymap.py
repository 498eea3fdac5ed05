"""The key registry: no key means two things, and everything that shows keys shows these."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hero_engine.core.errors import HeroError
from hero_tui.app import HeroApp
from hero_tui.keyboard import keymap
from hero_tui.keyboard.key_names import key_name, readable
from hero_tui.keyboard.keymap import ACTIONS, EVERYWHERE, SCREENS, TILE_ACTIONS, Keymap
from hero_tui.keyboard.tile_keys import LAYOUTS, TileKeys, tile_keys
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.end_screen import EndScreen
from hero_tui.screens.gallery_screen import GalleryScreen
from hero_tui.screens.help_screen import DESCRIPTION, HelpScreen
from hero_tui.screens.home_screen import HomeScreen
from hero_tui.screens.labelling_screen import LabellingScreen
from hero_tui.screens.preflight_screen import PreflightScreen
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.screens.summary_screen import SummaryScreen
from hero_tui.screens.welcome_screen import WelcomeScreen
from hero_tui.screens.zoom_screen import ZoomScreen

PROGRAM = Path(keymap.__file__).parents[1]
KEY = re.compile(r"\b(Ctrl\+[A-Z]|F\d{1,2}|Enter)\b")

CLASSES = {
    keymap.PAGE: LabellingScreen,
    keymap.LETTERS: LabellingScreen,
    keymap.CURSOR: LabellingScreen,
    keymap.ZOOM: ZoomScreen,
    keymap.COMPARE: CompareScreen,
    keymap.PROGRESS: ProgressScreen,
    keymap.GALLERY: GalleryScreen,
    keymap.HELP: HelpScreen,
    keymap.WELCOME: WelcomeScreen,
    keymap.PREFLIGHT: PreflightScreen,
    keymap.SUMMARY: SummaryScreen,
    keymap.END: EndScreen,
    keymap.HOME: HomeScreen,
    keymap.EVERYWHERE: HeroApp,
}


def test_no_key_means_two_things_on_one_screen() -> None:
    assert Keymap().conflicts() == []


@pytest.mark.parametrize("action", [a for a in ACTIONS if a.keys], ids=lambda action: action.id)
def test_every_bound_key_has_an_action_on_its_screen(action: keymap.Action) -> None:
    assert callable(getattr(CLASSES[action.where], f"action_{action.does or action.id}"))


def test_every_screen_binds_its_own_keys_and_the_app_the_rest() -> None:
    keys = Keymap()
    for screen in (*SCREENS, EVERYWHERE):
        bound = {(key, each.action) for key, each in keys.bindings(screen)}
        wanted = {
            (key, action.does or action.id)
            for action in ACTIONS
            if action.where == screen or (action.where in SCREENS.get(screen, ()))
            if screen == EVERYWHERE or action.where != EVERYWHERE
            for key in action.keys
        }
        assert bound == wanted


@pytest.mark.parametrize("screen", SCREENS)
def test_the_footer_fits_eighty_columns_up_to_quit(screen: str) -> None:
    entries = [f"{key} {name}" for key, name in Keymap().footer(screen)]
    assert len("  ".join(entries[: entries.index("^Q quit") + 1])) <= 78


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_keyboard_gives_each_tile_keys_of_its_own_and_leaves_help_a_key(name: str) -> None:
    keys = keymap.keymap({}, tile_keys(name))
    assert keys.conflicts() == []
    rows = keys.tiles.rows
    assert {len(row) for row in rows} == {10 if name.endswith("-wide") else 8}
    signs = [*"".join(rows), *(keys.tiles.shifted(key) for key in "".join(rows))]
    assert len(set(signs)) == len(signs)
    assert next(action.keys for action in keys.actions if action.id == "help")


def test_tiles_use_letters_before_digits() -> None:
    tiles = tile_keys("qwertz")
    assert "".join(tiles.page(3, 4)) == "qwerasdfyxcv"
    assert "".join(tiles.page(4, 3)) == "123qweasdyxc"
    assert "".join(tiles.page(1, 8)) == "qwertzui"
    assert tiles.shifted("3") == "§"
    assert "".join(tile_keys("uiop jkl;").page(2, 4)) == "uiopjkl;"


@given(st.sampled_from([a.id for a in ACTIONS if a.id not in TILE_ACTIONS]), st.data())
def test_any_action_takes_any_free_key_and_loses_its_own(action: str, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(["f9", "ctrl+g", "alt+x", "home"]))
    keys = keymap.keymap({action: [key]})
    assert next(each.keys for each in keys.actions if each.id == action) == (key,)
    assert keys.conflicts() == []


def test_a_chosen_key_replaces_a_default_whose_action_has_another() -> None:
    keys = keymap.keymap({"skip": ["backspace"]})
    assert {a.id: a.keys for a in keys.actions if a.id in ("skip", "undo")} == {
        "skip": ("backspace",),
        "undo": ("ctrl+z",),
    }


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"commit": ["space"]}, "keys: Space is both zoom and commit"),
        ({"commit": ["w"]}, "keys: w is both commit and a tile (on the page, by letters)"),
        ({"undo": ["f9"], "redo": ["f9"]}, "keys: F9 is both undo and redo"),
        ({"comit": ["f9"]}, "keys.comit: no such action; did you mean 'commit'?"),
        ({"good": ["f9"]}, "keys.good: no such action; "),
        ({"commit": ["contrl+x"]}, "keys.commit: there is no key 'contrl+x'"),
    ],
)
def test_invalid_values_are_refused_in_one_line(chosen: dict[str, list[str]], said: str) -> None:
    with pytest.raises(HeroError) as refused:
        keymap.keymap(chosen)
    assert refused.value.message.startswith(said)
    assert (refused.value.exit_code, "\n" in refused.value.message) == (2, False)


@pytest.mark.parametrize("text", ["qwer asd", "qwq asd", "querty", "ab*d ef8h", "", "a1! bcd"])
def test_tile_keys_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(HeroError, match="tile keys"):
        tile_keys(text)


def test_the_shifted_character_of_a_key_can_be_set() -> None:
    assert tile_keys("qwe, asdf", {",": ";"}).shifted(",") == ";"
    with pytest.raises(HeroError, match="§ stands for two things"):
        TileKeys(("q§",), {})


def test_keys_have_names_that_a_person_reads() -> None:
    assert [readable(key_name(key)) for key in ("?", "ctrl+z", "F2", "left", "É", "alt+,")] == [
        "?",
        "Ctrl+Z",
        "F2",
        "←",
        "É",
        "Alt+,",
    ]


def test_a_message_tells_the_keys_that_the_person_chose() -> None:
    mine = keymap.keymap({"commit": ["ctrl+g"], "redo": []})
    assert mine.told("{commit}, then {undo} or {redo}") == "Ctrl+G, then Ctrl+Z or -"
    assert mine.told("{a} {b|c} {} {") == "{a} {b|c} {} {"


def test_no_message_names_a_key_that_can_be_changed() -> None:
    """Each names the action, and `Keymap.told` its key; a text field's own keys cannot change."""
    folders = ("screens", "widgets", "session")
    files = [
        PROGRAM / "app.py",
        *(path for each in folders for path in (PROGRAM / each).glob("*.py")),
    ]
    found = [
        (path.name, text)
        for path in files
        for text in messages(ast.parse(path.read_text("utf-8")))
        if KEY.search(text) and "type it" not in text
    ]
    assert len(files) > 40 and found == []


def messages(tree: ast.Module) -> Iterator[str]:
    """Every string of a module, except those that stand alone: docstrings."""
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            yield node.value


def test_what_a_key_does_fits_into_its_column_of_the_help_screen() -> None:
    assert max(len(each.description) for each in Keymap().listed) <= DESCRIPTION
