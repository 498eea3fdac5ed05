"""`hero` alone in a terminal: the app of the home screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events, on
from textual.binding import BindingsMap
from textual.driver import Driver

from hero_engine.config.tasks import Task
from hero_engine.core.errors import ExitCode
from hero_tui.base_app import BaseApp
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.painter import Painter
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.home_screen import HomeChoice, HomeScreen
from hero_tui.screens.terminal_pictures import TerminalPictures
from hero_tui.session.input_guards import NO_GUARDS, BurstDetector, Guards
from hero_tui.session.known_runs import KnownRun, known_runs
from hero_tui.widgets.upload_queue import UploadQueue


class HomeApp(BaseApp, inherit_bindings=False):
    """Shows tasks and runs; `choice` says afterwards what to do, None for quit."""

    def __init__(
        self,
        tasks: Sequence[Task],
        painter: Painter,
        terminal: Terminal,
        preferences: Preferences | None = None,
        runs: Callable[[], list[KnownRun]] = known_runs,
        *,
        choose: Callable[[Terminal], Painter] | None = None,
        guards: Guards = NO_GUARDS,
    ) -> None:
        super().__init__(preferences)
        self._bindings = BindingsMap()
        self.uploads = UploadQueue(self, painter)
        keys = self.preferences.keymap
        self.home = HomeScreen(tasks, self.uploads, keys, terminal.cell, runs, guards)
        self.pictures = TerminalPictures(self, self.uploads, terminal, choose, say=self.home.say)
        self.choice: HomeChoice | None = None
        self._burst = BurstDetector(guards)

    async def on_mount(self) -> None:
        """Show the screen."""
        self.run_worker(self.uploads.work(), name="uploads")
        self.push_screen(self.home, self._choose)
        self.pictures.watch()

    async def on_event(self, event: events.Event) -> None:
        """Drop keys that no person typed, unless text is asked for."""
        burst = isinstance(event, events.Key) and self._burst.pressed(event.time)
        if burst and self.focused is None:
            event.stop()
            return
        await super().on_event(event)

    def on_resize(self) -> None:
        """tmux has redrawn its window."""
        self.pictures.drawn_by_tmux()

    @on(Driver.SignalResume)
    def _resumed(self) -> None:
        """The process was stopped and continues: the terminal has lost its pictures."""
        self.pictures.redraw()

    def _choose(self, choice: HomeChoice | None) -> None:
        self.choice = choice
        self.exit(ExitCode.DONE)

    def leave(self) -> None:
        """A signal asked the process to end. Called from its handler."""
        self.call_later(self.exit, ExitCode.DONE)

    def on_unmount(self) -> None:
        """Let go of the encoder's thread."""
        self.uploads.close()
