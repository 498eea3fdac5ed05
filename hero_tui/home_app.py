"""`hero` alone in a terminal: the app of the home screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.binding import BindingsMap

from hero_engine.config.tasks import Task
from hero_engine.core.errors import ExitCode
from hero_tui.base_app import BaseApp
from hero_tui.graphics.painter import Painter
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.home_screen import HomeChoice, HomeScreen
from hero_tui.session.known_runs import KnownRun, known_runs
from hero_tui.widgets.upload_queue import UploadQueue


class HomeApp(BaseApp, inherit_bindings=False):
    """Shows tasks and runs; `choice` says afterwards what to do, None for quit."""

    def __init__(
        self,
        tasks: Sequence[Task],
        painter: Painter,
        cell: tuple[int, int],
        preferences: Preferences | None = None,
        runs: Callable[[], list[KnownRun]] = known_runs,
    ) -> None:
        super().__init__(preferences)
        self._bindings = BindingsMap()
        self.uploads = UploadQueue(self, painter)
        self.home = HomeScreen(tasks, self.uploads, self.preferences.keymap, cell, runs)
        self.choice: HomeChoice | None = None

    async def on_mount(self) -> None:
        """Show the screen."""
        self.run_worker(self.uploads.work(), name="uploads")
        self.push_screen(self.home, self._choose)

    def _choose(self, choice: HomeChoice | None) -> None:
        self.choice = choice
        self.exit(ExitCode.DONE)

    def leave(self) -> None:
        """A signal asked the process to end. Called from its handler."""
        self.call_later(self.exit, ExitCode.DONE)

    def on_unmount(self) -> None:
        """Let go of the encoder's thread."""
        self.uploads.close()
