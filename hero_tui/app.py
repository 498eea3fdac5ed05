"""The app a person labels in: connects engine events, the labelling round and screens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

from textual import on
from textual.driver import Driver
from textual.screen import Screen

from hero_engine.config.settings import NoiseSettings
from hero_engine.core.errors import ExitCode
from hero_engine.core.events import (
    Event,
    Failed,
    Finished,
    FixedNoiseReady,
    ImagesReady,
    Notice,
    PhaseStarted,
    Preflight,
    RoundFinished,
    RunOpened,
)
from hero_engine.core.numbering import round_name
from hero_engine.core.sanitize import shown
from hero_engine.labelling.judge_source import JudgeSource
from hero_engine.storage.journal import Journal
from hero_tui.global_actions import GlobalActions
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.painter import Painter
from hero_tui.preferences.ui_preferences import Preferences, without_best
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.screens.command_list import CommandList
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.end_screen import EndScreen
from hero_tui.screens.help_screen import HelpScreen
from hero_tui.screens.labelling_screen import LabellingScreen
from hero_tui.screens.preflight_screen import PreflightScreen
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.screens.summary_screen import SummaryScreen
from hero_tui.screens.terminal_pictures import TerminalPictures
from hero_tui.screens.welcome_screen import WelcomeScreen
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.copy_finder import CopyFinder
from hero_tui.session.engine_bridge import EngineBridge, EngineReport, MakeEngine
from hero_tui.session.input_guards import Guards
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.next_step import NextStep
from hero_tui.session.paste_guard import PasteGuard
from hero_tui.session.preflight_words import asks_first, preflight_rows
from hero_tui.session.run_state import RunState
from hero_tui.session.shutdown import Shutdown
from hero_tui.session.suggestions import Suggestions
from hero_tui.terminal.attention import Attention
from hero_tui.terminal.signals import GRACE
from hero_tui.widgets.upload_queue import UploadQueue

PATIENCE = 15.0
"""Seconds to wait for the engine's safe point after Ctrl+Q; a second Ctrl+Q does not wait."""

SIGNAL_PATIENCE = GRACE - 0.8
"""Seconds to wait for it after a signal, so that the terminal is restored in time."""


class HeroApp(GlobalActions, inherit_bindings=False):
    """Its return value is the exit code; `state` and `labelling_round` stay readable after it.

    opened: the run's facts, for before the engine reports them. blind: the pictures are two
    models', mixed, and only judged: there is no best, and the app ends when they are labelled.
    noise: the run's settings of the noise prior, for the summary. welcome: begin with four
    sentences. summaries: show a summary after each round, and a menu at the end; `next_step` is
    what was chosen there. judge: one of the person's own, whose labels are shown as suggestions.
    """

    ENABLE_COMMAND_PALETTE = True
    COMMANDS = {CommandList}  # noqa: RUF012 - as Textual has it

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
        choose: Callable[[Terminal], Painter] | None = None,
        guards: Guards = Guards(),  # noqa: B008 - frozen
        noise: NoiseSettings | None = None,
        welcome: bool = False,
        summaries: bool = False,
        judge: JudgeSource | None = None,
    ) -> None:
        super().__init__(without_best(preferences) if blind else preferences)
        self.run_dir = run_dir
        self.blind, self.noise, self.guards = blind, noise, guards
        self._welcome, self._summaries = welcome, summaries
        self.next_step: NextStep | None = None
        terminal = terminal or Terminal()
        self.state = RunState(opened=None if opened is None else shown(opened))
        self.journal = Journal(run_dir / "journal.db")
        self.labelling_round = LabellingRound(self.journal, run_dir, best_wanted=not blind)
        self.suggestions = None if judge is None else Suggestions(judge, self.labelling_round)
        self.uploads = UploadQueue(self, painter)
        self.copies = CopyFinder(self.uploads.beside)
        self.attention = Attention(self.write, bell=self.preferences.ui.bell)
        self.bridge = EngineBridge(self, make_engine)
        self.labelling = LabellingScreen(
            self.labelling_round,
            self.uploads,
            self.preferences,
            terminal.cell,
            symbols=painter.name == "symbols",
            guards=guards,
            submit=self._submit,
            leave=self._show_end,
        )
        self.pasted = PasteGuard(
            guards,
            self.labelling_round,
            later=lambda call: self.screen.call_later(self.labelling.call_later, call),
            taken_back=self.paste_taken_back,
        )
        self._hint = terminal.hint
        self.pictures = TerminalPictures(
            self,
            self.uploads,
            terminal,
            choose,
            say=self.labelling.tell,
            painted=self.labelling.painted_by,
        )
        self.labelling_round.say = self.labelling.say
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung_for = -1
        self._ending = Shutdown(self.bridge, lambda: self.state, self.exit)

    async def on_mount(self) -> None:
        """Show what the journal already holds, then start the engine."""
        self._loop = asyncio.get_running_loop()
        await self.push_screen(self.labelling)
        self.run_worker(self.uploads.work(), name="uploads")
        self.pictures.watch()
        self.labelling.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.state = self.state.remembering(self.journal.metrics())
        self._open_round()
        if self._hint:
            self.labelling.say(self._hint)
        self._show_state()
        if self._welcome:
            self.push_screen(WelcomeScreen(self.preferences.keymap, self.state))
        self.bridge.start()

    # -- events of the engine --

    def on_engine_report(self, report: EngineReport) -> None:
        """Fold the event into the state, react to it, show the state."""
        event = shown(report.event)
        self.state = self.state.after(event)
        if self.labelling_round.round >= 0:  # the status is about this round, not the engine's
            self.state = replace(self.state, round=self.labelling_round.round)
        self._react(event)
        self.attention.show(self.state)
        self._show_state()

    @singledispatchmethod
    def _react(self, event: Event) -> None:
        """React to an event; most events only change the state."""

    @_react.register
    def _preflight(self, event: Preflight) -> None:
        """Ask before an hour is spent; else say what a round takes."""
        if asks_first(event):
            keys, guards = self.preferences.keymap, self.guards
            self.push_screen(PreflightScreen(keys, self.state, event, guards))
        else:
            self.labelling.say(dict(preflight_rows(event))["the session"].capitalize() + ".")

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
        self._look_for_copies()
        self._suggest()

    @_react.register
    def _fixed_noise_ready(self, event: FixedNoiseReady) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, SummaryScreen):
                screen.show_fixed_noise()

    @_react.register
    def _round_finished(self, event: RoundFinished) -> None:
        """Show the summary, unless the person is labelling already."""
        if self._summaries and self.labelling_round.submitted and self.screen is self.labelling:
            self.action_summary()

    @_react.register
    def _notice(self, event: Notice) -> None:
        self._hint = event.message
        self.labelling.say(event.message)
        self._toast(event.message)

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
        elif self._summaries:
            self._show_end()

    def _show_state(self) -> None:
        """Every open screen has the run's state on its first row."""
        self.state = replace(
            self.state,
            your_turn=self.labelling_round.has_unlabelled,
            per_minute=self.labelling.rate.per_minute,
        )
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.show_state(self.state)

    def toggle(self, screen: Screen[Any]) -> None:
        """As in every app; the screen begins with whether it is the person's turn now."""
        super().toggle(screen)
        self._show_state()

    # -- rounds --

    def _open_round(self) -> None:
        """Open the round to label, unless it is open; close a zoom into another round.

        The engine may still be at the round before, or already at the next.
        """
        opened, at_hand = self.state.opened, self.journal.at_hand()
        if opened is None or at_hand is None:
            return
        round, _ = at_hand
        self.state = replace(self.state, round=round)
        if self.labelling_round.round == round:
            return
        if any(isinstance(screen, ZoomScreen | CompareScreen) for screen in self.screen_stack):
            self.uncover(self.labelling)
        self.labelling_round.open_round(round, opened.batch, self.noise, self.state.plan)
        self.labelling.show_round()
        self._look_for_copies()
        self._suggest()
        if self._hint:
            self.labelling.say(self._hint)
            self._hint = ""

    def _look_for_copies(self) -> None:
        """Tag near-copies of the best, once the pictures on the screen are drawn."""
        if self.labelling_round.guided:
            self.run_worker(self._tag_copies(), name="near-copies", group="near-copies")

    async def _tag_copies(self) -> None:
        current, round = self.labelling_round, self.labelling_round.round
        found = await self.copies.among(
            current.earlier_bests(),
            current.pictures,
            current.groups,
            current.origins,
            current.first_pictures(),
        )
        if current.round == round and found != current.near_copies:
            current.tag_copies(found)
            self.labelling.refresh_captions(self.labelling.images)

    def _suggest(self) -> None:
        """Ask the judge, once the round's pictures are all drawn."""
        if self.suggestions is not None and self.suggestions.due:
            self.run_worker(self._suggested(self.suggestions), name="suggestions")

    async def _suggested(self, suggestions: Suggestions) -> None:
        opened = self.state.opened
        if said := await suggestions.fetch("" if opened is None else opened.prompt):
            self.labelling.tell(said)
            self.labelling.refresh_page()

    def _ring_for_round(self) -> None:
        """Ring once for a round that is drawn, unless the person is labelling it already."""
        if self._rung_for != self.labelling_round.round:
            self._rung_for = self.labelling_round.round
            if not self.labelling_round.session.marks.goods:
                self.attention.ring()
                self._toast(f"The pictures of {round_name(self._rung_for)} are ready: your turn.")

    def _toast(self, text: str) -> None:
        """Show a message over a screen of text; one of pictures would have to send them again."""
        if isinstance(self.screen, HelpScreen | ProgressScreen):
            self.notify(text)

    def _submit(self) -> None:
        """Tell the engine that the round is submitted; open the next one if it is drawn already."""
        self.bridge.submit(self.labelling_round.round)
        self._open_round()
        current = self.labelling_round
        if len(current.pictures) == current.count and not current.submitted:
            self._rung_for = current.round
        self._show_state()

    def on_resize(self) -> None:
        """tmux has redrawn its window."""
        self.pictures.drawn_by_tmux()

    @on(Driver.SignalResume)
    def _resumed(self) -> None:
        """The process was stopped and continues: the terminal has lost its pictures."""
        self.pictures.redraw()

    def farewell(self) -> str:
        """Escape sequences that free the pictures and give the terminal its title back."""
        return self.uploads.farewell() + self.attention.farewell()

    # -- leaving --

    def action_leave_hero(self) -> None:
        """Stop the engine at its next safe point, then leave; a second time, leave now."""
        if self.state.stopping:
            self._ending.now()
            return
        if self.labelling.awaits_submission:
            self.labelling_round.submit()
        self.bridge.stop()
        self.uncover(self.labelling)
        self.labelling.tell("Stopping at the next safe point. {leave_hero} again leaves at once.")
        self._leave_within(PATIENCE)

    def _show_end(self) -> None:
        """The menu of what to do with a finished run."""
        self.uncover(self.labelling)
        end = EndScreen(self.preferences.keymap, self.state, self.guards)
        self.push_screen(end, self._choose_step)

    def _choose_step(self, step: NextStep | None) -> None:
        if step is not None:
            self.next_step = step
            self.exit(ExitCode.DONE)

    def leave_for_signal(self) -> None:
        """A signal asked the process to end. Called from its handler, at any moment."""
        threading.Thread(target=self.bridge.stop, daemon=True).start()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave_within, SIGNAL_PATIENCE)

    def _leave_within(self, seconds: float) -> None:
        self.state = replace(self.state, stopping=True)
        self._show_state()
        self.run_worker(self._ending.after_safe_point(seconds), name="leave")

    def on_unmount(self) -> None:
        """Close threads and files."""
        if self.suggestions is not None:
            self.suggestions.close()
        self.uploads.close()
        self.journal.close()
