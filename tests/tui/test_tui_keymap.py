"""The key registry: no key means two things, and everything that shows keys shows these."""

from __future__ import annotations

from dataclasses import replace

from hero_tui import keymap
from hero_tui.hero_app import HeroApp
from hero_tui.screens.labelling import LabellingScreen
from hero_tui.screens.zoom import ZoomScreen


def test_no_key_means_two_things_on_one_screen() -> None:
    assert keymap.conflicts() == []


def test_a_conflict_is_named_with_its_key_and_its_actions() -> None:
    stolen = [replace(a, keys=("w",)) if a.id == "zoom" else a for a in keymap.ACTIONS]
    assert keymap.conflicts(stolen) == ["w on the labelling screen: zoom and good"]


def test_every_bound_key_has_an_action_on_its_screen() -> None:
    screens = {
        keymap.LABELLING: LabellingScreen,
        keymap.ZOOM: ZoomScreen,
        keymap.EVERYWHERE: HeroApp,
    }
    for action in keymap.ACTIONS:
        if action.keys:
            assert callable(getattr(screens[action.where], f"action_{action.id}"))


def test_the_readme_table_has_a_row_for_every_action() -> None:
    table = keymap.readme_table().splitlines()
    assert len(table) == 2 + len(keymap.ACTIONS)
    assert "| labelling | Shift+letter | make the tile the best (and good) |" in table


def test_the_footer_fits_eighty_columns() -> None:
    for where in (keymap.LABELLING, keymap.ZOOM):
        entries = [f"{key} {name}" for key, name in keymap.footer(where)]
        assert len("  ".join(entries)) <= 78
