"""The app a person labels in: connects engine events, the labelling round and screens."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import singledispatchmethod
from pathlib import Path

from hero_engine.core.errors import ExitCode
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    ImagesReady,
    Notice,
    PhaseStarted,
    RunOpened,
)
from hero_engine.core.sanitize import shown
from hero_engine.storage.journal import Journal
from hero_tui.base_app import BaseApp
from hero_tui.graphics.detect_terminal import Terminal, draws_placeholders
from hero_tui.graphics.painter import Painter
from hero_tui.graphics.tmux import watch_clients
from hero_tui.keyboard import keymap
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.gallery_screen import GalleryScreen
from hero_tui.screens.help_screen import HelpScreen
from hero_tui.screens.labelling_screen import LabellingScreen
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.engine_bridge import EngineBridge, EngineReport, MakeEngine
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.past_rounds import past_rounds
from hero_tui.session.run_state import RunState
from hero_tui.session.shutdown import Shutdown
from hero_tui.terminal.attention import Attention
from hero_tui.terminal.driver import GRACE
from hero_tui.widgets.upload_queue import UploadQueue

PATIENCE = 15.0
"""Seconds to wait for the engine's safe point after Ctrl+Q; a second Ctrl+Q does not wait."""

SIGNAL_PATIENCE = GRACE - 0.8
"""Seconds to wait for it after a signal, so that the terminal is restored in time."""


class HeroApp(BaseApp, inherit_bindings=False):
    """Its return value is the exit code; `state` and `labelling_round` stay readable after it.

    opened: the run's facts, for before the engine reports them. blind: the pictures are two
    models', mixed, and only judged: there is no best, and the app ends when they are labelled.
    """

    def __init__(
        self,
        run_dir: Path,
        make_engine: MakeEngine,
        painter: Painter,
        *,
        terminal: Terminal | None = None,
        opened: RunOpened | None = None,
        preferences: Preferences | None = None,
        blind: bool = False,
    ) -> None:
        super().__init__(preferences)
        self._run_dir = run_dir
        self.blind = blind
        terminal = terminal or Terminal()
        self.state = RunState(opened=None if opened is None else shown(opened))
        self._journal = Journal(run_dir / "journal.db")
        self.labelling_round = LabellingRound(self._journal, run_dir, best_wanted=not blind)
        self.uploads = UploadQueue(self, painter)
        self.attention = Attention(self.write, bell=self.preferences.ui.bell)
        self.bridge = EngineBridge(self, make_engine)
        self.labelling = LabellingScreen(
            self.labelling_round,
            self.uploads,
            self.preferences,
            terminal.cell,
            symbols=painter.name == "symbols",
            submit=self._submit,
        )
        self._hint = terminal.hint
        self._in_tmux = terminal.tmux and painter.name == "kitty"
        self.labelling_round.say = self.labelling.say
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung_for = -1
        self._ending = Shutdown(self.bridge, lambda: self.state, self.exit)

    async def on_mount(self) -> None:
        """Show what the journal already holds, then start the engine."""
        self._loop = asyncio.get_running_loop()
        await self.push_screen(self.labelling)
        self.run_worker(self.uploads.work(), name="uploads")
        if self._in_tmux:
            self.run_worker(watch_clients(os.environ, self._attached), name="tmux")
        self.labelling.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.state = self.state.remembering(self._journal.metrics())
        self._open_round()
        if self._hint:
            self.labelling.say(self._hint)
        self._show_state()
        self.bridge.start()

    # -- events of the engine --

    def on_engine_report(self, report: EngineReport) -> None:
        """Fold the event into the state, react to it, show the state."""
        event = shown(report.event)
        self.state = self.state.after(event)
        if self.labelling_round.round >= 0:
            self.state = replace(self.state, round=self.labelling_round.round)
        self._react(event)
        self.attention.show(self.state)
        self._show_state()

    @singledispatchmethod
    def _react(self, event: Event) -> None:
        """Most events only change the state."""

    @_react.register
    def _phase_started(self, event: PhaseStarted) -> None:
        self._open_round()
        if event.phase == "labelling" and event.round == self.labelling_round.round:
            self._ring_for_round()

    @_react.register
    def _images_ready(self, event: ImagesReady) -> None:
        if event.round != self.labelling_round.round:
            return
        for index, path in zip(event.indices, event.paths, strict=True):
            self.labelling_round.add(index, Path(path))
        self.labelling.show_ready(event.indices)

    @_react.register
    def _notice(self, event: Notice) -> None:
        self._hint = event.message
        self.labelling.say(event.message)

    @_react.register
    def _failed(self, event: Failed) -> None:
        self.exit(event.exit_code)

    @_react.register
    def _finished(self, event: Finished) -> None:
        if event.reason == "stopped":
            if not self.state.stopping:
                self.exit(ExitCode.RESUMABLE)
            return
        self.attention.ring()
        if self.blind:
            self.exit(ExitCode.DONE)

    def _show_state(self) -> None:
        self.labelling.show_state(self.state)
        if isinstance(self.screen, ProgressScreen):
            self.screen.show_state(self.state)

    # -- rounds --

    def _open_round(self) -> None:
        """Open the round to label, unless it is open; close a zoom into another round.

        The engine may still be at the round before, or already at the next.
        """
        opened, at_hand = self.state.opened, self._journal.at_hand()
        if opened is None or at_hand is None:
            return
        round, _ = at_hand
        self.state = replace(self.state, round=round)
        if self.labelling_round.round == round:
            return
        if any(isinstance(screen, ZoomScreen | CompareScreen) for screen in self.screen_stack):
            self.uncover(self.labelling)
        self.labelling_round.open_round(round, opened.batch)
        self.labelling.show_round()
        if self._hint:
            self.labelling.say(self._hint)
            self._hint = ""

    def _ring_for_round(self) -> None:
        """Ring once for a round that is complete, unless the person is labelling it already."""
        if self._rung_for != self.labelling_round.round:
            self._rung_for = self.labelling_round.round
            if not self.labelling_round.session.marks.goods:
                self.attention.ring()

    def _submit(self) -> None:
        """The round was handed in; take up the next where it is drawn already."""
        self.bridge.submit(self.labelling_round.round)
        self._open_round()
        current = self.labelling_round
        if len(current.pictures) == current.count and not current.submitted:
            self._rung_for = current.round
        self._show_state()

    def _attached(self, terminal: str) -> None:
        """Another terminal shows this tmux session now."""
        if draws_placeholders(terminal):
            self.uploads.send_again()
        else:
            self.labelling.say("This terminal cannot show the pictures: Ctrl+Q, then hero resume.")

    def farewell(self) -> str:
        """Escape sequences that free the pictures and give the terminal its title back."""
        return self.uploads.farewell() + self.attention.farewell()

    # -- keys that work everywhere --

    def action_undo(self) -> None:
        """Undo the last step, on whichever page it was."""
        self._step_in_history(self.labelling_round.session.undo, "Undo", "Nothing to undo.")

    def action_redo(self) -> None:
        """Redo what was undone last."""
        self._step_in_history(self.labelling_round.session.redo, "Redo", "Nothing to redo.")

    def _step_in_history(
        self, step: Callable[[], tuple[int, ...] | None], name: str, nothing: str
    ) -> None:
        """Undo or redo, and show the pictures it touched."""
        if self.labelling_round.submitted:
            self.labelling.say("This round was handed in; its labels are final.")
            return
        self.labelling.reopen()
        touched = step()
        if touched is None:
            self.labelling.say(nothing)
        elif touched:
            self.labelling.say(f"{name}: {self.labelling_round.described(touched)}")
            for screen in self.screen_stack:
                if isinstance(screen, LabellingScreen | ZoomScreen | CompareScreen):
                    screen.show_touched(touched)

    def action_help(self) -> None:
        """All keys."""
        place = getattr(self.screen, "place", keymap.LETTERS)
        self.toggle(HelpScreen(self.preferences.keymap, place))

    def action_progress(self) -> None:
        """Charts of the run so far."""
        self.toggle(ProgressScreen(self.preferences.keymap, self.state))

    def action_gallery(self) -> None:
        """Past rounds, and what training changed."""
        batch = self.state.opened.batch if self.state.opened else 0
        found = past_rounds(self._journal, self._run_dir, batch)
        keys, cell = self.preferences.keymap, self.labelling.cell
        self.toggle(GalleryScreen(found, self.uploads, keys, cell))

    def action_redraw(self) -> None:
        """Everything again, for a terminal that something else wrote on."""
        self.uploads.send_again()
        self.screen.refresh()

    def action_theme(self) -> None:
        """Change to the next theme until the app ends."""
        name = self.next_theme()
        self.labelling.say(f'Theme {name}. To keep it: theme = "{name}" under [ui].')

    def action_leave_hero(self) -> None:
        """Stop the engine at its next safe point, then leave; a second time, leave now."""
        if self.state.stopping:
            self._ending.now()
            return
        if self.labelling.closing:
            self.labelling_round.submit()
        self.bridge.stop()
        self.uncover(self.labelling)
        self.labelling.say("Stopping at the next safe point. Ctrl+Q again leaves at once.")
        self._leave_within(PATIENCE)

    def leave_for_signal(self) -> None:
        """The process was told to end. Called from a signal handler, at any moment."""
        threading.Thread(target=self.bridge.stop, daemon=True).start()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave_within, SIGNAL_PATIENCE)

    def _leave_within(self, seconds: float) -> None:
        self.state = replace(self.state, stopping=True)
        self._show_state()
        self.run_worker(self._ending.after_safe_point(seconds), name="leave")

    def on_unmount(self) -> None:
        """Let go of threads and files."""
        self.uploads.close()
        self._journal.close()
