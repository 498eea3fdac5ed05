"""Runs the app on the real terminal, and restores the terminal in every case."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from textual.app import App

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.core.events import RunOpened
from hero_engine.core.numbering import counted, round_name
from hero_engine.labelling.judge_source import JudgeSource
from hero_tui.app import HeroApp
from hero_tui.graphics.choose_painter import choose_painter, require_mode
from hero_tui.graphics.detect_terminal import Terminal, colour_hint
from hero_tui.output_streams import talk
from hero_tui.preferences.first_time import first_time
from hero_tui.preferences.ui_preferences import read_preferences
from hero_tui.session.engine_bridge import MakeEngine
from hero_tui.session.marks_so_far import saved_marks
from hero_tui.session.next_step import NextStep
from hero_tui.terminal.ask_terminal import Asked, ask
from hero_tui.terminal.driver import driver_for
from hero_tui.terminal.signals import exit_code, signals_call
from hero_tui.terminal.tty import Modes, Tty, keys_held, output_to_log


def run_on_terminal(
    run_dir: Path,
    make_engine: MakeEngine,
    *,
    graphics: str | None = None,
    opened: RunOpened | None,
    blind: bool = False,
    go_on: str = "hero resume {}",
    noise: NoiseSettings | None = None,
    judge: JudgeSource | None = None,
    then: Callable[[NextStep | None], int] | None = None,
) -> int:
    """Run the app until the person leaves; print how to continue, and return the exit code.

    graphics: over the preferences. blind, noise, judge: see `HeroApp`. go_on: the command to
    continue, {} for the folder. then: does what the person chose at the end of the run; with it
    and with ui.guide the app explains what happens. Raises HeroError with exit code 2 when
    stdin or stdout is no terminal, or the person's preferences are wrong.
    """
    require_terminal()
    preferences = read_preferences()
    guide = then is not None and preferences.ui.guide
    mode = graphics or preferences.ui.graphics
    require_mode(mode)
    with held_terminal(run_dir / "hero.log") as held:
        terminal = held.asked.answers.terminal
        hint = terminal.hint or colour_hint(terminal, os.environ)
        app = HeroApp(
            run_dir,
            make_engine,
            choose_painter(mode, terminal),
            terminal=replace(terminal, hint=hint),
            opened=opened,
            preferences=preferences,
            blind=blind,
            choose=lambda changed: choose_painter(mode, changed),
            noise=noise,
            welcome=guide and first_time(),
            summaries=guide,
            judge=judge,
        )
        code = held.run(
            app,
            leave=app.leave_for_signal,
            farewell=app.farewell,
            drawn=app.uploads.drawn,
            answered=app.pictures.changed,
        )
    if held.signals and code == ExitCode.RESUMABLE:
        code = exit_code(held.signals[0])
    talk(farewell(app, run_dir, code, go_on.format(run_dir)))
    if app.bridge.running or held.signals:
        os._exit(code)  # a signal does not wait for the libraries to tidy up: torch takes a second
    return code if then is None or app.next_step is None else then(app.next_step)


class HeldTerminal:
    """A terminal that was asked and is ours until the block ends; runs one app after another.

    `signals`: those that came so far and ended the app.
    """

    def __init__(self, tty: Tty, modes: Modes, asked: Asked) -> None:
        self.tty = tty
        self.modes = modes
        self.asked = asked
        self.signals: list[int] = []

    def run(
        self,
        app: App[int],
        *,
        leave: Callable[[], None],
        farewell: Callable[[], str] = lambda: "",
        drawn: Callable[[], None] = lambda: None,
        answered: Callable[[Terminal], None] = lambda terminal: None,
    ) -> int:
        """Run an app until it ends, and return its exit code.

        leave: called when a signal asks the process to end, from the signal's handler. farewell:
        what frees the terminal's pictures. drawn: called when the terminal has drawn what was
        sent. answered: called when the terminal said something new about itself.
        """
        driver = driver_for(
            self.tty, self.modes, self.asked, farewell=farewell, drawn=drawn, answered=answered
        )
        app.driver_class = driver

        def leave_for(number: int) -> None:
            self.signals.append(number)
            if number == signal.SIGHUP:
                self.tty.leave()
            self.tty.cut()
            leave()

        def give_back() -> None:
            if driver.current is not None:
                driver.current.give_back()

        with signals_call(leave_for, give_back):
            code = app.run(mouse=not in_gnu_screen(os.environ))
        return app.return_code or 0 if code is None else code


@contextmanager
def held_terminal(log: Path) -> Iterator[HeldTerminal]:
    """Ask the terminal what it can, and hold it: keys are kept, other output goes to the log."""
    tty = Tty()
    with ExitStack() as stack:
        modes = stack.enter_context(keys_held(tty))
        asked = ask(tty.output, tty.input, os.environ)
        if asked.answers.terminal.true_colour:
            os.environ.setdefault("COLORTERM", "truecolor")
        stack.enter_context(output_to_log(log, tty))
        yield HeldTerminal(tty, modes, asked)


def in_gnu_screen(environ: Mapping[str, str]) -> bool:
    """Whether GNU screen is in between: with the mouse on it keeps an Escape until the next key."""
    return bool(environ.get("STY")) and not environ.get("TMUX")


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


def farewell(app: HeroApp, run_dir: Path, code: int, go_on: str) -> str:
    """One line: what happened, and the command that continues."""
    state = app.state
    resume = f"Continue with: {go_on}"
    if state.failed is not None:
        return state.failed.message
    if state.finished is not None and state.finished.reason != "stopped":
        if app.blind:
            return f"judged {state.finished.labels} pictures: {run_dir}"
        rounds = counted(state.finished.rounds, "round")
        return f"finished, {state.labels} labels in {rounds}: {run_dir}"
    if code not in (ExitCode.DONE, ExitCode.RESUMABLE, ExitCode.INTERRUPTED):
        return f"the app failed; {run_dir / 'hero.log'} says why. {resume}"
    saved = saved_marks(app.labelling_round.marked)
    return f"stopped in {round_name(state.round)} ({state.phase}{saved}). {resume}"
