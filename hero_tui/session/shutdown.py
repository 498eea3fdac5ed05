"""Ends the app: after the engine's next safe point, or at once."""

from __future__ import annotations

from collections.abc import Callable

from hero_engine.core.errors import ExitCode
from hero_tui.session.engine_bridge import EngineBridge
from hero_tui.session.run_state import RunState


class Shutdown:
    """Waits for the engine, then leaves with the run's exit code.

    state: reads the run's state. leave: ends the app with a code.
    """

    def __init__(
        self, bridge: EngineBridge, state: Callable[[], RunState], leave: Callable[[int], None]
    ) -> None:
        self._bridge, self._state, self._leave = bridge, state, leave

    def now(self) -> None:
        """Leave without waiting."""
        self._leave(exit_code(self._state()))

    async def after_safe_point(self, seconds: float) -> None:
        """Leave when the engine has stopped, or after this many seconds.

        While the model is opened there is no safe point to wait for, and nothing to lose.
        """
        if self._state().phase != "opening":
            await self._bridge.stopped(seconds)
        self.now()


def exit_code(state: RunState) -> ExitCode:
    """DONE at the run's end, else RESUMABLE."""
    finished = state.finished is not None and state.finished.reason != "stopped"
    return ExitCode.DONE if finished else ExitCode.RESUMABLE
