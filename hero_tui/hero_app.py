"""The app a person labels in: connects the engine's events, the desk and the screens."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Self

from textual.app import App

from hero_engine.errors import ExitCode
from hero_engine.harmless import shown
from hero_engine.journal import Journal
from hero_engine.protocol import Failed, Finished, ImagesReady, Notice, PhaseStarted, RunOpened
from hero_tui import keymap
from hero_tui.bridge import Bridge, EngineReport, MakeEngine
from hero_tui.desk import Desk
from hero_tui.graphics.detect import Terminal
from hero_tui.graphics.drawing import Painter
from hero_tui.run_state import RunState
from hero_tui.screens.help import HelpScreen
from hero_tui.screens.labelling import LabellingScreen
from hero_tui.screens.zoom import ZoomScreen
from hero_tui.terminal import GRACE
from hero_tui.theme import HERO
from hero_tui.widgets.easel import Easel

PATIENCE = 15.0
"""Seconds a quitting person waits for the engine's safe point; quitting again does not wait."""

SIGNAL_PATIENCE = GRACE - 0.8
"""Seconds a signalled app waits for it, so that the terminal is clean again in time."""


class HeroApp(App[int], inherit_bindings=False):
    """Its return value is the exit code; `state` and `desk` say afterwards how far it came.

    `opened` is what is known of the run before the engine has said it.
    """

    CSS_PATH = "hero.tcss"
    BINDINGS = keymap.bindings(keymap.EVERYWHERE)
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "hero"

    def __init__(
        self,
        run_dir: Path,
        make_engine: MakeEngine,
        painter: Painter,
        *,
        terminal: Terminal | None = None,
        opened: RunOpened | None = None,
    ) -> None:
        super().__init__()
        self.register_theme(HERO)
        self.theme = HERO.name
        terminal = terminal or Terminal()
        self.state = RunState(opened=None if opened is None else shown(opened))
        self._journal = Journal(run_dir / "journal.db")
        self.desk = Desk(self._journal, run_dir)
        self.easel = Easel(self, painter)
        self.bridge = Bridge(self, make_engine)
        self.labelling = LabellingScreen(
            self.desk,
            self.easel,
            terminal.cell,
            symbols=painter.name == "symbols",
            submit=self._submit,
        )
        self._hint = terminal.hint
        self.desk.say = self.labelling.say
        self._loop: asyncio.AbstractEventLoop | None = None

    def refresh(
        self, *, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """As Textual's, but what is only laid out again is not painted again.

        Textual asks for a layout after it removed a screen; that would send every picture twice.
        """
        return super().refresh(repaint=repaint and not layout, layout=layout, recompose=recompose)

    async def on_mount(self) -> None:
        """Show what the journal already holds, then wake the engine."""
        self._loop = asyncio.get_running_loop()
        await self.push_screen(self.labelling)
        self.run_worker(self.easel.work(), name="easel")
        self.labelling.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.state = self.state.remembering(self._journal.metrics())
        current = self._journal.current()
        if current is not None and self.state.opened is not None:
            self._open_round(current[0])
        if self._hint:
            self.labelling.say(self._hint)
        self.labelling.show_state(self.state)
        self.bridge.start()

    # -- the engine --

    def on_engine_report(self, report: EngineReport) -> None:
        """Fold the event into the state, then show what it changed."""
        event = shown(report.event)
        self.state = self.state.after(event)
        match event:
            case PhaseStarted():
                self._open_round(event.round)
            case ImagesReady() if event.round == self.desk.round:
                for index, path in zip(event.indices, event.paths, strict=True):
                    self.desk.add(index, Path(path))
                self.labelling.show_ready(event.indices)
            case Notice():
                self._hint = event.message
                self.labelling.say(event.message)
            case Failed():
                self.exit(event.exit_code)
            case Finished() if event.reason == "stopped" and not self.state.stopping:
                self.exit(ExitCode.RESUMABLE)
        self.labelling.show_state(self.state)

    def _open_round(self, round: int) -> None:
        """Put a round on the desk, unless it is there; a zoom into another round closes."""
        opened = self.state.opened
        self.state = replace(self.state, round=round)
        if opened is None or self.desk.round == round:
            return
        if any(isinstance(screen, ZoomScreen) for screen in self.screen_stack):
            self._uncover()
        self.desk.open_round(round, opened.batch)
        self.labelling.show_round()
        if self._hint:
            self.labelling.say(self._hint)
            self._hint = ""

    def _uncover(self) -> None:
        """Bring the labelling screen to the top."""
        while self.screen is not self.labelling:
            self.pop_screen()

    def _submit(self) -> None:
        self.bridge.submit(self.desk.round)
        self.labelling.show_state(self.state)

    # -- keys that work everywhere --

    def action_undo(self) -> None:
        """Take back the last step, on whichever page it was."""
        self._travel("undo", "Nothing to undo in this round.")

    def action_redo(self) -> None:
        """Do again what was taken back."""
        self._travel("redo", "Nothing to redo.")

    def _travel(self, direction: str, nothing: str) -> None:
        if self.desk.submitted:
            self.labelling.say("This round was handed in; its labels are final.")
            return
        session = self.desk.session
        touched = session.undo() if direction == "undo" else session.redo()
        if touched is None:
            self.labelling.say(nothing)
            return
        if not touched:
            return
        self.labelling.say(f"{direction.capitalize()}: {self._described(touched)}")
        for screen in self.screen_stack:
            if isinstance(screen, LabellingScreen | ZoomScreen):
                screen.show_touched(touched)

    def _described(self, images: tuple[int, ...]) -> str:
        if len(images) > 1:
            return f"{len(images)} pictures changed"
        words = self.desk.look(images[0]).words or "not labelled"
        return f"picture {images[0] + 1} is {words} again"

    def action_help(self) -> None:
        """All keys."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_leave_hero(self) -> None:
        """Stop the engine at its next safe point, then leave; asked twice, leave now."""
        if self.state.stopping:
            self.exit(self._leaving())
            return
        self._stop("Stopping at the next safe point. Ctrl+Q again leaves at once.")
        self.run_worker(self._leave_when_stopped(PATIENCE), name="leave")

    def leave_for_signal(self) -> None:
        """The process was told to end (called from a signal handler, in whatever moment)."""
        threading.Thread(target=self.bridge.stop, daemon=True).start()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave_signalled)

    def _leave_signalled(self) -> None:
        self.state = replace(self.state, stopping=True)
        self.run_worker(self._leave_when_stopped(SIGNAL_PATIENCE), name="leave")

    def _stop(self, words: str) -> None:
        self.state = replace(self.state, stopping=True)
        self.bridge.stop()
        self._uncover()
        self.labelling.say(words)
        self.labelling.show_state(self.state)

    async def _leave_when_stopped(self, seconds: float) -> None:
        await self.bridge.stopped(seconds)
        self.exit(self._leaving())

    def _leaving(self) -> ExitCode:
        done = self.state.finished is not None and self.state.finished.reason != "stopped"
        return ExitCode.DONE if done else ExitCode.RESUMABLE

    def on_unmount(self) -> None:
        """Let go of threads and files."""
        self.easel.close()
        self._journal.close()
