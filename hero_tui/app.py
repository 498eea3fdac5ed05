"""The app a person labels in: connects engine events, the labelling round and screens."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Self

from textual.app import App
from textual.screen import Screen

from hero_engine.core.errors import ExitCode
from hero_engine.core.events import Failed, Finished, ImagesReady, Notice, PhaseStarted, RunOpened
from hero_engine.core.numbering import picture_name
from hero_engine.core.sanitize import shown
from hero_engine.storage.journal import Journal
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
from hero_tui.terminal.attention import Attention
from hero_tui.terminal.driver import GRACE
from hero_tui.theme import HERO
from hero_tui.widgets.upload_queue import UploadQueue

PATIENCE = 15.0
"""Seconds a quitting person waits for the engine's safe point; quitting again does not wait."""

SIGNAL_PATIENCE = GRACE - 0.8
"""Seconds a signalled app waits for it, so that the terminal is clean again in time."""


class HeroApp(App[int], inherit_bindings=False):
    """Its return value is the exit code; `state` and `labelling_round` stay readable after it.

    `opened` is what is known of the run before the engine has said it; `blind`: the pictures
    are two models', mixed and only judged; no best is wanted, and the app ends with the verdicts.
    """

    CSS_PATH = "hero.tcss"
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
        preferences: Preferences | None = None,
        blind: bool = False,
    ) -> None:
        super().__init__()
        self.preferences = preferences or Preferences()
        self._bindings = self.preferences.keymap.bindings(keymap.EVERYWHERE)
        self.register_theme(HERO)
        self.theme = self.preferences.ui.theme
        self._run_dir = run_dir
        self.blind = blind
        terminal = terminal or Terminal()
        self.state = RunState(opened=None if opened is None else shown(opened))
        self._journal = Journal(run_dir / "journal.db")
        self.labelling_round = LabellingRound(self._journal, run_dir, best_wanted=not blind)
        self.uploads = UploadQueue(self, painter)
        self.attention = Attention(self._write, bell=self.preferences.ui.bell)
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
        self._called_for = -1

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
        self.run_worker(self.uploads.work(), name="uploads")
        if self._in_tmux:
            self.run_worker(watch_clients(os.environ, self._attached), name="tmux")
        self.labelling.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.state = self.state.remembering(self._journal.metrics())
        self._open_round()
        if self._hint:
            self.labelling.say(self._hint)
        self.labelling.show_state(self.state)
        self.bridge.start()

    # -- the engine --

    def on_engine_report(self, report: EngineReport) -> None:
        """Fold the event into the state, then show what it changed."""
        event = shown(report.event)
        self.state = self.state.after(event)
        if self.labelling_round.round >= 0:
            self.state = replace(self.state, round=self.labelling_round.round)
        match event:
            case PhaseStarted():
                self._open_round()
                if event.phase == "labelling" and event.round == self.labelling_round.round:
                    self._call()
            case ImagesReady() if event.round == self.labelling_round.round:
                for index, path in zip(event.indices, event.paths, strict=True):
                    self.labelling_round.add(index, Path(path))
                self.labelling.show_ready(event.indices)
            case Notice():
                self._hint = event.message
                self.labelling.say(event.message)
            case Failed():
                self.exit(event.exit_code)
            case Finished() if event.reason == "stopped" and not self.state.stopping:
                self.exit(ExitCode.RESUMABLE)
            case Finished() if event.reason != "stopped":
                self.attention.ring()
                if self.blind:
                    self.exit(ExitCode.DONE)
        self.attention.show(self.state)
        self.labelling.show_state(self.state)
        if isinstance(self.screen, ProgressScreen):
            self.screen.show_state(self.state)

    def _write(self, text: str) -> None:
        if self._driver is not None:
            self._driver.write(text)

    def _attached(self, terminal: str) -> None:
        """Another terminal shows this tmux session now."""
        if draws_placeholders(terminal):
            self.uploads.send_again()
        else:
            self.labelling.say("This terminal cannot show the pictures: Ctrl+Q, then hero resume.")

    def farewell(self) -> str:
        """What leaves the terminal as it was: no picture of ours in it, and its own title."""
        return self.uploads.farewell() + self.attention.farewell()

    def _open_round(self) -> None:
        """Open the round to label, unless it is open; close a zoom into another round.

        The engine may be at the one before still, or at the next already.
        """
        opened, at_hand = self.state.opened, self._journal.at_hand()
        if opened is None or at_hand is None:
            return
        round, _ = at_hand
        self.state = replace(self.state, round=round)
        if self.labelling_round.round == round:
            return
        if any(isinstance(screen, ZoomScreen | CompareScreen) for screen in self.screen_stack):
            self._uncover()
        self.labelling_round.open_round(round, opened.batch)
        self.labelling.show_round()
        if self._hint:
            self.labelling.say(self._hint)
            self._hint = ""

    def _call(self) -> None:
        """Ring once for a round that is there, unless the person is at it already."""
        if (
            self._called_for != self.labelling_round.round
            and not self.labelling_round.session.marks.goods
        ):
            self.attention.ring()
        self._called_for = self.labelling_round.round

    def _uncover(self) -> None:
        """Bring the labelling screen to the top."""
        while self.screen is not self.labelling:
            self.pop_screen()

    def _submit(self) -> None:
        self.bridge.submit(self.labelling_round.round)
        self._open_round()
        if (
            len(self.labelling_round.pictures) == self.labelling_round.count
            and not self.labelling_round.submitted
        ):
            self._called_for = self.labelling_round.round
        self.labelling.show_state(self.state)

    # -- keys that work everywhere --

    def action_undo(self) -> None:
        """Take back the last step, on whichever page it was."""
        self._travel("undo", "Nothing to undo in this round.")

    def action_redo(self) -> None:
        """Do again what was taken back."""
        self._travel("redo", "Nothing to redo.")

    def _travel(self, direction: str, nothing: str) -> None:
        if self.labelling_round.submitted:
            self.labelling.say("This round was handed in; its labels are final.")
            return
        self.labelling.reopen()
        session = self.labelling_round.session
        touched = session.undo() if direction == "undo" else session.redo()
        if touched is None:
            self.labelling.say(nothing)
            return
        if not touched:
            return
        self.labelling.say(f"{direction.capitalize()}: {self._described(touched)}")
        for screen in self.screen_stack:
            if isinstance(screen, LabellingScreen | ZoomScreen | CompareScreen):
                screen.show_touched(touched)

    def _described(self, images: tuple[int, ...]) -> str:
        if len(images) > 1:
            return f"{len(images)} pictures changed"
        words = self.labelling_round.style_of(images[0]).words or "not labelled"
        return f"{picture_name(images[0])} is {words} again"

    def action_help(self) -> None:
        """All keys."""
        place = getattr(self.screen, "place", keymap.LETTERS)
        self._cover(HelpScreen(self.preferences.keymap, place))

    def action_progress(self) -> None:
        """Charts of the run so far."""
        self._cover(ProgressScreen(self.preferences.keymap, self.state))

    def action_gallery(self) -> None:
        """Past rounds, and what training changed."""
        batch = self.state.opened.batch if self.state.opened else 0
        found = past_rounds(self._journal, self._run_dir, batch)
        keys, cell = self.preferences.keymap, self.labelling.cell
        self._cover(GalleryScreen(found, self.uploads, keys, cell))

    def action_redraw(self) -> None:
        """Everything again, for a terminal that something else wrote on."""
        self.uploads.send_again()
        self.screen.refresh()

    def action_theme(self) -> None:
        """The next theme, for this time."""
        names = sorted(self.available_themes)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.labelling.say(f'Theme {self.theme}. To keep it: theme = "{self.theme}" under [ui].')

    def _cover(self, screen: Screen[None]) -> None:
        """Show a screen over the others; where one of its kind is on top, take that away."""
        if type(self.screen) is type(screen):
            self.pop_screen()
        else:
            self.push_screen(screen)

    def get_css_variables(self) -> dict[str, str]:
        """The theme's colours; our two greys are made from its own where it has none."""
        known = super().get_css_variables()
        plain = known["foreground"]
        ours = {
            "quiet": known.get("foreground-muted", plain),
            "faint": known.get("foreground-disabled", plain),
        }
        self.theme_variables = ours | known
        return self.theme_variables

    def action_leave_hero(self) -> None:
        """Stop the engine at its next safe point, then leave; asked twice, leave now."""
        if self.state.stopping:
            self.exit(self._leaving())
            return
        if self.labelling.closing:
            self.labelling_round.submit()
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
        """While the model is opened there is no safe point to wait for, and nothing to lose."""
        if self.state.phase != "opening":
            await self.bridge.stopped(seconds)
        self.exit(self._leaving())

    def _leaving(self) -> ExitCode:
        done = self.state.finished is not None and self.state.finished.reason != "stopped"
        return ExitCode.DONE if done else ExitCode.RESUMABLE

    def on_unmount(self) -> None:
        """Let go of threads and files."""
        self.uploads.close()
        self._journal.close()
