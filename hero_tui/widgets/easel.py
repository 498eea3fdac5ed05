"""Hands drawings to pictures at the terminal's pace, so that keys are answered in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.app import App

from hero_engine.errors import HeroError
from hero_tui.graphics.drawing import Box, Drawing, Painter
from hero_tui.graphics.studio import Studio
from hero_tui.terminal import HeroDriver
from hero_tui.widgets.tile import Picture

FLIGHT = 16_000
"""Bytes on their way at a time, or one picture: 50 ms on a link of 300 KB/s.

Then the terminal must have answered that it drew them.
"""

PATIENCE = 1.0
"""Seconds to wait for that answer."""

LAYOUT_POLL, LAYOUT_POLLS = 0.01, 100
"""Seconds between looks whether a picture has its place, and looks before it is drawn anyway."""


class Easel:
    """A queue of pictures to draw, one after another, the first asked first drawn."""

    def __init__(self, app: App[int], painter: Painter) -> None:
        self._app = app
        self._studio = Studio(painter, self.forget)
        self._queue: asyncio.Queue[tuple[Picture, Path, Box]] = asyncio.Queue()
        self._sent: set[str] = set()
        self._answered = asyncio.Event()
        self._answers = True
        self._in_flight = 0

    def want(self, picture: Picture, path: Path | None, box: Box) -> None:
        """Have the PNG drawn into the widget, soon; None empties it.

        One that the terminal holds already is drawn at once, with the page it is on.
        """
        if not picture.want(path, box) or path is None:
            return
        known = self._studio.known(path, box)
        if known is not None and self._is_sent(known):
            picture.show(known)
        else:
            self._queue.put_nowait((picture, path, box))

    def drawn(self) -> None:
        """The terminal took in all that was sent (called on the event loop)."""
        self._answers = True
        self._answered.set()

    def forget(self, drawing: Drawing) -> None:
        """Free what a drawing left in the terminal."""
        if self._is_sent(drawing):
            self._sent.discard(drawing.upload)
            self._write(drawing.forget)

    def farewell(self) -> str:
        """What frees everything, for the end of the app."""
        return "".join(drawing.forget for drawing in self._studio.held())

    def close(self) -> None:
        """Draw nothing more."""
        self._studio.close()

    async def idle(self) -> None:
        """Wait until everything wanted so far is drawn."""
        await self._queue.join()

    async def work(self) -> None:
        """Draw for as long as the app runs.

        What was painted before the first of several pictures, such as an empty page, is on its way
        too: it lands first.
        """
        while True:
            rested = self._queue.empty()
            picture, path, box = await self._queue.get()
            if await self._has_room(picture, path, box):
                if rested:
                    await self._landed()
                await self._draw(picture, path, box)
            self._queue.task_done()

    async def _has_room(self, picture: Picture, path: Path, box: Box) -> bool:
        """Wait until the picture has been laid out; False when it is not wanted any more."""
        for _ in range(LAYOUT_POLLS):
            if picture.wanted != (path, box) or picture.size == (box.columns, box.rows):
                break
            await asyncio.sleep(LAYOUT_POLL)
        return picture.wanted == (path, box)

    async def _draw(self, picture: Picture, path: Path, box: Box) -> None:
        try:
            drawing = await self._studio.drawing(path, box)
        except HeroError as error:
            self._app.log.warning(error.message)
            return
        cost = drawing.size
        if self._in_flight and self._in_flight + cost > FLIGHT:
            await self._landed()
        if picture.wanted == (path, box):
            self._in_flight += cost
            self._upload(drawing)
            picture.show(drawing)
        if self._queue.empty():
            await self._landed()

    def _is_sent(self, drawing: Drawing) -> bool:
        return drawing.upload in self._sent

    def _upload(self, drawing: Drawing) -> None:
        if drawing.upload and not self._is_sent(drawing):
            self._sent.add(drawing.upload)
            self._write(drawing.upload)

    def _write(self, text: str) -> None:
        driver = self._app._driver
        if text and driver is not None:
            driver.write(text)

    async def _landed(self) -> None:
        """Wait until the terminal answers that it drew everything.

        A mute one is asked only once.
        """
        driver, self._in_flight = self._app._driver, 0
        if not self._answers or not isinstance(driver, HeroDriver):
            return
        self._answered.clear()
        self._app.screen.call_after_refresh(driver.ask_drawn)
        try:
            await asyncio.wait_for(self._answered.wait(), PATIENCE)
        except TimeoutError:
            self._answers = False
