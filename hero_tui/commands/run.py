"""`hero run` and `hero resume`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hero_engine.config import merge
from hero_engine.errors import ExitCode, HeroError
from hero_engine.rundir import RunDir, new_run_path
from hero_engine.sources import find_model
from hero_tui.commands.output import data, talk
from hero_tui.commands.runs import open_run
from hero_tui.settings import choose, layers, nested, parsed, use_runs_folder


def new_run(
    flags: dict[str, Any],
    *,
    folder: Path | None,
    graphics: str | None,
    headless: bool,
    labels: str | None,
) -> int:
    """Start a run; returns the exit code. One whose model cannot be opened leaves no folder."""
    _check_graphics(graphics)
    use_runs_folder()
    task, settings = choose(layers(), flags)
    find_model(settings.model)
    _check_way(headless, labels)
    if headless:
        from hero_tui.commands.headless import check_labels

        check_labels(labels, task, settings.batch)
    run = RunDir.create(folder or new_run_path(task.name), settings, task)
    code = work(run, graphics=graphics, headless=headless, labels=labels, more_rounds=None)
    if code in (ExitCode.USAGE, ExitCode.ENVIRONMENT) and run.status().get("phase") is None:
        shutil.rmtree(run.path, ignore_errors=True)
    return code


def resume(
    name: str | None,
    *,
    graphics: str | None,
    headless: bool,
    labels: str | None,
    more_rounds: int | None,
) -> int:
    """Go on with a run; returns the exit code. A finished run says so, and 0."""
    _check_graphics(graphics)
    run = open_run(name)
    if run.in_use():
        with run.lock():
            pass
    status = run.status()
    if status.get("state") == "finished" and more_rounds is None:
        seen = run.opened()
        talk(f"finished already: {seen.labels_used} labels in {seen.round} rounds: {run.path}")
        if headless:
            from hero_engine.protocol import Finished

            reason = "rounds" if run.settings.rounds else "budget"
            data(Finished(seen.run, seen.round, seen.labels_used, reason).to_json())
        return 0
    _check_way(headless, labels)
    if headless:
        from hero_tui.commands.headless import check_labels

        check_labels(labels, run.task, run.settings.batch)
    return work(run, graphics=graphics, headless=headless, labels=labels, more_rounds=more_rounds)


def _check_way(headless: bool, labels: str | None) -> None:
    """Refuse what cannot work before anything is written."""
    if headless:
        return
    if labels is not None:
        raise HeroError("--labels goes with --headless; in the app the labels are yours")
    from hero_tui.app import require_terminal

    require_terminal()


def _check_graphics(mode: str | None) -> None:
    from hero_tui.graphics.choose import MODES

    if mode is not None and mode not in MODES:
        raise HeroError(f"--graphics {mode}: choose one of {', '.join(MODES)}")


def work(
    run: RunDir,
    *,
    graphics: str | None,
    headless: bool,
    labels: str | None,
    more_rounds: int | None,
) -> int:
    """Run the loop in the app, or without it."""
    if headless and labels is not None:
        from hero_tui.commands.headless import run_headless

        return run_headless(run, labels, more_rounds)
    from hero_engine.worker import EngineWorker
    from hero_tui.app import run_on_terminal
    from hero_tui.preferences import read_preferences

    return run_on_terminal(
        run.path,
        lambda deliver: EngineWorker(run, deliver, more_rounds=more_rounds),
        graphics=graphics or read_preferences().ui.graphics,
        opened=run.opened(),
    )


def changes_of(settings: Sequence[str], **named: Any) -> dict[str, Any]:
    """Changes of settings: "KEY=VALUE" texts (VALUE in TOML, or plain text), and those not None.

    "ddpo.clip_range=1e-3" becomes {"ddpo": {"clip_range": 0.001}}.
    """
    changes: dict[str, Any] = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise HeroError(f"--set {text}: write KEY=VALUE, such as sampler.steps=20")
        table = key.partition(".")[0]
        if "." in key and not isinstance(changes.get(table, {}), dict):
            raise HeroError(f"--set {text}: another --set gives {table} a single value")
        changes = merge(changes, nested(key, parsed(key, value)))
    return changes | {name: value for name, value in named.items() if value is not None}
