"""`hero` alone in a terminal: the home screen, then what was chosen there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hero_engine.core.errors import ExitCode

if TYPE_CHECKING:
    from hero_tui.screens.home_screen import HomeChoice


def wanted(arguments: list[str]) -> bool:
    """Whether `hero` was typed alone, in a terminal that can show the screen."""
    terminal = os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
    return not arguments and terminal


def home() -> int:
    """Show the home screen, and do what was chosen; returns the exit code."""
    from hero_engine.config.tasks import list_tasks
    from hero_engine.core.xdg import data_folder
    from hero_tui.graphics.choose_painter import choose_painter
    from hero_tui.home_app import HomeApp
    from hero_tui.launch import held_terminal
    from hero_tui.preferences.settings_sources import use_runs_folder
    from hero_tui.preferences.ui_preferences import read_preferences
    from hero_tui.session.input_guards import Guards

    use_runs_folder()
    preferences = read_preferences()
    folder = data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with held_terminal(folder / "home.log") as held:
        terminal = held.asked.answers.terminal
        painter = choose_painter(preferences.ui.graphics, terminal)
        app = HomeApp(
            list_tasks(),
            painter,
            terminal,
            preferences,
            choose=lambda changed: choose_painter(preferences.ui.graphics, changed),
            guards=Guards(),
        )
        held.run(
            app,
            leave=app.leave,
            farewell=app.uploads.farewell,
            drawn=app.uploads.drawn,
            answered=app.pictures.changed,
        )
    return ExitCode.DONE if app.choice is None else follow(app.choice)


def follow(choice: HomeChoice) -> int:
    """Start, resume, evaluate or export; returns the exit code."""
    from hero_tui.commands.after_run import evaluate, export
    from hero_tui.commands.find_run import open_run
    from hero_tui.commands.start_run import Way, new_run, resume

    if choice.deed == "start":
        return new_run({"task": choice.name}, folder=None, way=Way())
    if choice.deed == "resume":
        return resume(choice.name, way=Way(), more_rounds=None)
    run = open_run(choice.name)
    if choice.deed == "evaluate":
        return evaluate(run)
    export(run, "comfyui")
    export(run, "diffusers")
    return ExitCode.DONE
