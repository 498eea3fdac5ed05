"""The app's one way to the engine thread.

Commands go to the engine, events arrive as messages.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Protocol

from textual.app import App
from textual.message import Message

from hero_engine.core.events import Command, Event, Progress, Stop, SubmitLabels

STOP_POLL = 0.02

GIVE_WAY = 0.001
"""Interpreter switch interval in seconds (Python's default is 5 ms)."""


class Engine(Protocol):
    """What the app needs of an engine thread: `EngineThread`, or a test's."""

    def start(self) -> None:
        """Begin; events follow from another thread."""

    def send(self, command: Command) -> None:
        """Hand over a command; returns at once, from any thread."""

    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        ...


MakeEngine = Callable[[Callable[[Event], None]], Engine]
"""Makes an engine that calls the given function with every event, from its own thread."""


class EngineReport(Message):
    """An event of the engine, on the app's own loop."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event

    def can_replace(self, message: Message) -> bool:
        """A flood of progress keeps only its newest."""
        return (
            isinstance(message, EngineReport)
            and isinstance(message.event, Progress)
            and isinstance(self.event, Progress)
        )


class EngineBridge:
    """Starts the engine, passes commands, and posts its events to the app while there is one."""

    def __init__(self, app: App[Any], make_engine: MakeEngine) -> None:
        self._app = app
        self._engine = make_engine(self._deliver)
        self._started = False

    def start(self) -> None:
        """Start the engine's thread, which gives way within a millisecond when a key comes."""
        sys.setswitchinterval(GIVE_WAY)
        self._started = True
        self._engine.start()

    def submit(self, round: int) -> None:
        """Tell the engine that the round's labels are in the journal, complete."""
        self._engine.send(SubmitLabels(round))

    def stop(self) -> None:
        """Ask the engine to stop at its next safe point; safe to call from a signal handler."""
        self._engine.send(Stop())

    @property
    def running(self) -> bool:
        """Whether the engine's thread still runs."""
        return self._started and self._engine.is_alive()

    async def stopped(self, seconds: float) -> bool:
        """Wait for the thread to end; False when it did not within the time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self.running and loop.time() < until:
            await asyncio.sleep(STOP_POLL)
        return not self.running

    def _deliver(self, event: Event) -> None:
        """Called from the engine's thread, which outlives the app's loop when the app is gone."""
        try:
            self._app.post_message(EngineReport(event))
        except RuntimeError:
            return
