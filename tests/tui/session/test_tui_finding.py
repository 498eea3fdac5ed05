"""Finding a picture again: filters, the command palette, another program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from test_tui_labelling import BATCH, journalled, labelling, line, sampled
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import OptionList

from hero_engine.core.events import Notice
from hero_tui.preferences.settings_sources import UiSettings
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.session.external_viewer import open_outside, viewer_command
from hero_tui.session.label_style import LabelStyle


async def test_a_filter_shows_kinds_in_turn_and_enter_ends_it_without_a_commit(
    tmp_path: Path,
) -> None:
    async with labelling(tmp_path) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w", "S", "e", "ctrl+d", "right", "f", "ctrl+f")
        assert app.labelling.images == (1, 5, 15)
        assert "only good, page 1/1" in line(app, "criterion")
        await pilot.press("w")
        assert app.labelling_round.style_of(5) is LabelStyle.OPEN
        await pilot.press("ctrl+f")
        assert app.labelling.images[:3] == (0, 3, 4)
        await pilot.press("ctrl+f")
        assert app.labelling.images == (2,)
        await pilot.press("enter")
        assert (
            app.labelling.pages.count == BATCH and not app.labelling_round.session.marks.committed
        )
        await pilot.press("ctrl+z")
        assert app.labelling_round.style_of(5) is LabelStyle.BEST
    assert journalled(tmp_path).goods == (1, 5, 15)


def found(palette: Screen[object]) -> str:
    """The first line that the palette offers, in small letters."""
    options = palette.query_one(OptionList)
    return str(options.get_option_at_index(0).prompt).lower() if options.option_count else ""


async def test_the_palette_finds_a_picture_by_its_number_and_an_action_by_its_words(
    tmp_path: Path,
) -> None:
    async with labelling(tmp_path, size=(100, 30)) as (app, engine, pilot):
        await sampled(engine, pilot)
        for search, reached in (("picture 12", "picture 12 of 16"), ("charts", "")):
            await pilot.press("ctrl+p")
            await pilot.pause()
            assert isinstance(app.screen, CommandPalette)
            await pilot.press(*("space" if sign == " " else sign for sign in search))
            while search not in found(app.screen):
                await pilot.pause(0.01)
            await pilot.press("enter")
            await pilot.pause()
            if reached:
                assert 11 in app.labelling.images and reached in line(app, "notice")
        assert isinstance(app.screen, ProgressScreen)
        engine.deliver(Notice("Memory is short."))
        await pilot.pause()
        assert any("Memory is short." in toast.message for toast in app._notifications)
    assert journalled(tmp_path).labelled == 0


@pytest.mark.parametrize(
    ("setting", "environ", "command"),
    [
        ("feh -F", {"HERO_VIEWER": "other", "SSH_TTY": "x"}, ["feh", "-F"]),
        ("", {"HERO_VIEWER": "eog --new"}, ["eog", "--new"]),
        ("", {"DISPLAY": ":0", "SSH_CONNECTION": "1 2"}, []),
        ("", {}, []),
    ],
)
def test_which_program_shows_a_picture(
    setting: str, environ: Mapping[str, str], command: list[str]
) -> None:
    assert viewer_command(setting, environ) == command


async def test_a_picture_is_opened_outside_or_its_path_is_said(tmp_path: Path) -> None:
    seen, viewer = tmp_path / "seen", tmp_path / "viewer"
    viewer.write_text(f'#!/bin/sh\necho "$1" > {seen}.part && mv {seen}.part {seen}\n')
    viewer.chmod(0o755)
    preferences = Preferences(UiSettings(undo_seconds=0, viewer=str(viewer)))
    async with labelling(tmp_path, preferences=preferences) as (app, engine, pilot):
        await sampled(engine, pilot)
        await pilot.press("w", "ctrl+o")
        while not seen.exists():
            await pilot.pause(0.01)
        assert seen.read_text().strip() == str(app.labelling_round.pictures[1])
    picture = tmp_path / "p.png"
    assert str(picture) in open_outside(picture, "", {"SSH_TTY": "x"})
    assert "cannot be started" in open_outside(picture, str(tmp_path / "none"), {})
    assert "cannot be started" in open_outside(picture, "feh 'x", {})
