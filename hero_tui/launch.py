"""Runs the app on the real terminal and leaves that as it was, whatever happens."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import RunOpened
from hero_engine.core.numbering import round_name
from hero_tui.app import HeroApp
from hero_tui.graphics.choose_painter import choose_painter
from hero_tui.graphics.detect_terminal import ask
from hero_tui.output_streams import talk
from hero_tui.preferences.ui_preferences import read_preferences
from hero_tui.session.engine_bridge import MakeEngine
from hero_tui.terminal.driver import Tty, code_of, driver_for, held, quiet, signals_call


def run_on_terminal(
    run_dir: Path,
    make_engine: MakeEngine,
    *,
    graphics: str | None = None,
    opened: RunOpened | None,
    blind: bool = False,
    go_on: str = "hero resume {}",
) -> int:
    """Run the app until the person leaves; print how to go on, and return the exit code.

    graphics: over the preferences. blind: see `HeroApp`. go_on: the command that goes on, {}
    for the folder. Raises HeroError with exit code 2 when stdin or stdout is no terminal, or the
    person's preferences are wrong.
    """
    require_terminal()
    preferences = read_preferences()
    tty = Tty()
    with ExitStack() as stack:
        stack.enter_context(held(tty))
        terminal = ask(tty.output, os.environ)
        painter = choose_painter(graphics or preferences.ui.graphics, terminal)
        if terminal.true_colour:
            os.environ.setdefault("COLORTERM", "truecolor")
        stack.enter_context(quiet(run_dir / "hero.log", tty))
        app = HeroApp(
            run_dir,
            make_engine,
            painter,
            terminal=terminal,
            opened=opened,
            preferences=preferences,
            blind=blind,
        )
        app.driver_class = driver_for(tty, terminal.typed, app.farewell, app.uploads.drawn)
        seen: list[int] = []
        stack.enter_context(signals_call(lambda number: _leave(app, tty, number, seen)))
        code = app.run()
    code = app.return_code or 0 if code is None else code
    if seen and code == ExitCode.RESUMABLE:
        code = code_of(seen[0])
    talk(farewell(app, run_dir, code, go_on.format(run_dir)))
    if app.bridge.running or seen:
        os._exit(code)  # a signal does not wait for the libraries to tidy up: torch takes a second
    return code


def require_terminal(
    stdin: int = 0, stdout: int = 1, otherwise: str = "; without one, use --headless --labels"
) -> None:
    """Refuse to start where nobody could see or type.

    otherwise: what to do then, after the reason. Raises HeroError with exit code 2.
    """
    if not (os.isatty(stdin) and os.isatty(stdout)):
        raise HeroError(
            f"labelling needs a terminal on stdin and stdout{otherwise}",
            exit_code=ExitCode.USAGE,
        )


def _leave(app: HeroApp, tty: Tty, number: int, seen: list[int]) -> None:
    seen.append(number)
    if number == signal.SIGHUP:
        tty.leave()
    app.leave_for_signal()


def farewell(app: HeroApp, run_dir: Path, code: int, go_on: str) -> str:
    """One line: what happened, and the command that goes on."""
    state = app.state
    resume = f"Go on with: {go_on}"
    if state.failed is not None:
        return state.failed.message
    if state.finished is not None and state.finished.reason != "stopped":
        if app.blind:
            return f"judged {state.finished.labels} pictures: {run_dir}"
        return f"finished, {state.labels} labels in {state.finished.rounds} rounds: {run_dir}"
    if code not in (ExitCode.DONE, ExitCode.RESUMABLE, ExitCode.INTERRUPTED):
        return f"the app failed; {run_dir / 'hero.log'} says why. {resume}"
    return f"stopped in {round_name(state.round)} ({state.phase}). {resume}"
