"""Texts from somebody else are shown, and change neither the screen nor the terminal."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine, opened
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from hero_engine.config.presets import embedded
from hero_engine.config.tasks import Task
from hero_engine.core.events import Failed, ImagesReady, Notice
from hero_engine.core.sanitize import sanitized, sanitized_lines, shown
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_tui.app import HeroApp
from hero_tui.cli import run_command
from hero_tui.graphics.symbols import SymbolPainter
from hero_tui.session.run_state import RunState
from hero_tui.terminal.attention import Attention

EVIL = "a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\u202ee\x08f\rg\x00h"
SEEN = "a?]0;owned?b?[2Jc?31md?e?f?g?h"
MARKUP = "[red]x[/] [link=http://a]y[/] [@click=app.quit]z[/]"
CHANGES_THE_TERMINAL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def screen_lines(app: HeroApp) -> list[str]:
    """Everything the screen shows, as it would be written to the terminal, without styles."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


async def hostile(tmp_path: Path, text: str) -> tuple[HeroApp, FakeEngine]:
    engine = FakeEngine(tmp_path, 4)
    first = replace(opened(tmp_path, batch=4), prompt=text, success=text)
    return HeroApp(tmp_path, engine, SymbolPainter(), opened=first), engine


async def settled(pilot: Pilot[int]) -> None:
    await pilot.pause()
    await pilot.pause()


async def test_no_text_of_a_run_changes_the_apps_terminal(tmp_path: Path) -> None:
    """A prompt, a criterion, a task, a note: each is shown, and what would act is a "?"."""
    app, engine = await hostile(tmp_path, EVIL)
    async with app.run_test(size=(160, 24)) as pilot:
        await settled(pilot)
        assert f"“{SEEN}”" in "\n".join(screen_lines(app))
        hostile_again = replace(opened(tmp_path, batch=4), task=EVIL, prompt="p", success=EVIL)
        engine.deliver(hostile_again)
        engine.deliver(Notice(f"mended {EVIL}"))
        await settled(pilot)
        lines = screen_lines(app)
        assert f"mended {SEEN}" in "\n".join(lines) and f"good: {SEEN}" in "\n".join(lines)
        assert not any(CHANGES_THE_TERMINAL.search(line) for line in lines)


def test_no_tasks_name_ends_the_terminals_title_early(tmp_path: Path) -> None:
    """The title is an escape sequence itself: a name could end it and begin another."""
    written: list[str] = []
    first = replace(opened(tmp_path, batch=4), task=EVIL)
    Attention(written.append, bell=False).show(RunState(opened=first, phase="labelling"))
    (sent,) = written
    title = sent.partition("\x1b]2;")[2].removesuffix("\x1b\\")
    assert title == f"hero: {SEEN}, round 1 is ready"


async def test_markup_in_a_text_is_text(tmp_path: Path) -> None:
    app, engine = await hostile(tmp_path, MARKUP)
    async with app.run_test(size=(160, 24)) as pilot:
        await settled(pilot)
        engine.deliver(Notice(MARKUP))
        await settled(pilot)
        assert "\n".join(screen_lines(app)).count(MARKUP) == 3
        strips = app.screen._compositor.render_strips()
        styles = [segment.style for strip in strips for segment in strip if segment.style]
        assert not any(style.link or "@click" in style.meta for style in styles)


@given(st.text(st.characters()))
def test_sanitized_text_prints_as_itself(text: str) -> None:
    assert not CHANGES_THE_TERMINAL.search(sanitized(text))
    assert len(sanitized(text)) == len(text)
    sanitized(text).encode()  # no half of a character is left
    assert sanitized(sanitized(text)) == sanitized(text)
    assert sanitized_lines(text).replace("\n", "?").replace("\t", "?") == sanitized(text)


@pytest.mark.parametrize("text", ["1 hand", "café 手 🤚🏽 עברית", "“x” – [red]", "👩‍🎨"])
def test_plain_texts_are_unchanged(text: str) -> None:
    assert sanitized(text) == text


def test_an_events_texts_are_sanitized_and_its_paths_kept() -> None:
    assert shown(Failed(EVIL, 4)) == Failed(SEEN, 4)
    pictures = ImagesReady(0, (0,), (EVIL,))
    assert shown(pictures) == pictures


# --- commands


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run that somebody else made, in a folder that somebody else named."""
    folder = tmp_path / "evil\x1b]0;owned\x07\u202e"
    task = Task(EVIL, EVIL, EVIL, EVIL)
    return RunDir.create(folder, embedded(task=EVIL, prompt=EVIL, model=EVIL), task)


@pytest.mark.parametrize("command", ["status", "labels", "show", "eval"])
def test_no_text_of_a_run_changes_a_commands_terminal(
    command: str, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_status({"state": EVIL, "note": EVIL, "phase": EVIL, "round": 0, "labels": 0})
    run_command([command, str(run.path)])
    said = capsys.readouterr()
    assert not CHANGES_THE_TERMINAL.search((said.out + said.err).replace("\n", ""))
    if command == "status":
        assert f"“{SEEN}”" in said.out


def test_a_picture_that_would_fill_the_memory_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir.create(tmp_path / "run", embedded(task="t", prompt="p"), Task("t", "p"))
    picture = run.picture_path(0, 0)
    picture.parent.mkdir(parents=True)
    head = b"\x00\x00\x00\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + head)
    with Journal(run.journal_path) as journal:
        journal.add_round(0)
        journal.add_images(0, {0: run.relative(picture)})
    assert run_command(["show", str(run.path)]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"hero: {picture} is not opened: 60000 x 60000 pixels are too many"


def test_json_is_escaped(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["status", str(run.path), "--json"])
    out = capsys.readouterr().out
    assert not CHANGES_THE_TERMINAL.search(out.replace("\n", ""))
    assert json.loads(out)["prompt"] == EVIL


@pytest.mark.parametrize(
    "arguments",
    [
        [EVIL],
        ["status", EVIL],
        ["run", "--task", EVIL],
        ["run", "--task", f"{EVIL}.toml".replace("\0", "")],
        ["run", "--task", "hands", "--model", EVIL],
        ["run", "--task", "hands", "--set", EVIL],
        ["run", "--task", "hands", "--set", f"{EVIL}={EVIL}"],
        ["run", "--task", "hands", "--set", f"model={EVIL}"],
        ["run", "--task", "hands", "--graphics", EVIL],
        ["run", "--task", "hands", "--headless", "--labels", EVIL],
        ["label", EVIL, "--from", EVIL],
        ["export", "x", "--out", "x", EVIL],
    ],
)
def test_a_mistake_is_one_sanitized_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) in (2, 3, 4)
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == "" and not CHANGES_THE_TERMINAL.search(line)


def test_a_path_that_is_not_utf8_is_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes of a file name that are no UTF-8 come as halves of characters."""
    name = str(tmp_path / "a\udcff")
    assert run_command(["status", name]) == 4
    assert "a? is not a run" in capfd.readouterr().err
    RunDir.create(Path(name), embedded(task="t", prompt="p"), Task("t", "p"))
    assert run_command(["status", name]) == 0
    assert f"{tmp_path}/a?\n" in capfd.readouterr().out
