"""Sends drawings as fast as the terminal takes them, so that keys are answered in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from textual.app import App
from textual.geometry import Region

from hero_engine.core.errors import HeroError
from hero_tui.graphics.painter import Box, Drawing, Painter
from hero_tui.graphics.picture_encoder import PictureEncoder
from hero_tui.terminal.driver import HeroDriver
from hero_tui.widgets.tile import Picture

DELAY = 0.05
"""Seconds that a key may wait for pictures that are being sent."""

FLIGHT, LARGEST_FLIGHT = 16_000, 128_000
"""Bytes on their way at a time, or one picture; then the terminal must have answered that it drew
them. At first what a link of 300 KB/s takes in DELAY; more on one that proves to be quicker."""

PATIENCE = 1.0
"""Seconds to wait for that answer."""

NEXT_FRAME = 0.1
"""Seconds in which a terminal has drawn what it took in."""

TOGETHER = 16
"""Pictures encoded in one go, and drawn at once where they fit into one flight."""

LAYOUT_POLL, LAYOUT_POLLS = 0.01, 100
"""Seconds between checks whether a picture is laid out, and checks until it is drawn anyway."""

Result = TypeVar("Result")
Want = tuple[Picture, Path, Box]


class UploadQueue:
    """A queue of pictures to draw, one after another, the first asked first drawn.

    bytes_sent: of pictures that the terminal keeps, so far.
    """

    def __init__(self, app: App[int], painter: Painter) -> None:
        self._app = app
        self._encoder = PictureEncoder(painter, self.forget)
        self._queue: asyncio.Queue[Want] = asyncio.Queue()
        self._sent: set[str] = set()
        self._answered = asyncio.Event()
        self._answers = True
        self._in_flight, self._flight = 0, FLIGHT
        self._began = 0.0
        self.bytes_sent = 0

    def want(self, picture: Picture, path: Path | None, box: Box) -> None:
        """Have the PNG drawn into the widget, soon; None empties it.

        One that the terminal holds already is drawn at once, with the page it is on.
        """
        if not picture.want(path, box) or path is None:
            return
        known = self._encoder.known(path, box)
        if known is not None and self._is_sent(known):
            picture.show(known)
        else:
            self._queue.put_nowait((picture, path, box))

    @property
    def painter(self) -> Painter:
        """What encodes the pictures."""
        return self._encoder.painter

    @property
    def limit(self) -> tuple[int, int] | None:
        """The largest picture in pixels that the terminal draws; None for any."""
        limit: tuple[int, int] | None = getattr(self._encoder.painter, "limit", None)
        return limit

    async def beside(self, call: Callable[[], Result]) -> Result:
        """Call a function in the encoder's thread, after the pictures that wait there."""
        return await self._encoder.beside(call)

    def use(self, painter: Painter) -> None:
        """Show every picture by another painter from now on."""
        self._write(self.farewell())
        self._encoder.close()
        self._encoder = PictureEncoder(painter, self.forget)
        self.send_again()

    def send_again(self) -> None:
        """Send every picture that is shown once more, as to a terminal that has none of them."""
        self._sent.clear()
        for screen in self._app.screen_stack:
            for picture in screen.query(Picture):
                if picture.wanted is not None:
                    picture.forget_lines()
                    self._queue.put_nowait((picture, *picture.wanted))

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
        return "".join(drawing.forget for drawing in self._encoder.held())

    def close(self) -> None:
        """Draw nothing more."""
        self._encoder.close()

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
            wants = [await self._queue.get()]
            while len(wants) < TOGETHER and not self._queue.empty():
                wants.append(self._queue.get_nowait())
            there = [want for want in wants if await self._has_room(*want)]
            if there and rested:
                await self._landed()
            await self._draw(there)
            for _ in wants:
                self._queue.task_done()

    async def _has_room(self, picture: Picture, path: Path, box: Box) -> bool:
        """Wait until the picture has been laid out; False when it is not wanted any more."""
        for _ in range(LAYOUT_POLLS):
            if picture.wanted != (path, box) or picture.size == (box.columns, box.rows):
                break
            await asyncio.sleep(LAYOUT_POLL)
        return picture.wanted == (path, box)

    async def _draw(self, wants: list[Want]) -> None:
        drawings = await self._encoder.drawings([(path, box) for _, path, box in wants])
        for (picture, path, box), drawing in zip(wants, drawings, strict=True):
            if isinstance(drawing, HeroError):
                self._app.log.warning(drawing.message)
            elif picture.wanted == (path, box):
                await self._send(picture, drawing)
        if self._queue.empty():
            await self._landed()
            self._wake(wants)

    def _wake(self, wants: list[Want]) -> None:
        """Change a row again: kitty 0.48 shows a picture only with the change after it."""
        if self.painter.name == "kitty" and wants:
            picture, _, box = wants[-1]
            last_row = Region(0, box.rows - 1, box.columns, 1)
            picture.set_timer(NEXT_FRAME, lambda: picture.refresh(last_row))

    async def _send(self, picture: Picture, drawing: Drawing) -> None:
        wanted = picture.wanted
        if self._in_flight and self._in_flight + drawing.size > self._flight:
            await self._landed()
        if picture.wanted == wanted:
            self._began = self._began if self._in_flight else time.monotonic()
            self._in_flight += drawing.size
            self._upload(drawing)
            picture.show(drawing)

    def _is_sent(self, drawing: Drawing) -> bool:
        return drawing.upload in self._sent

    def _upload(self, drawing: Drawing) -> None:
        if drawing.upload and not self._is_sent(drawing):
            self._sent.add(drawing.upload)
            self._write(drawing.upload)
            self.bytes_sent += len(drawing.upload)

    def _write(self, text: str) -> None:
        driver = self._app._driver
        if text and driver is not None:
            driver.write(text)

    async def _landed(self) -> None:
        """Wait until the terminal answers that it drew everything.

        A mute one is asked only once.
        """
        driver, sent, self._in_flight = self._app._driver, self._in_flight, 0
        if not self._answers or not isinstance(driver, HeroDriver):
            return
        self._answered.clear()
        self._app.screen.call_after_refresh(driver.ask_drawn)
        try:
            await asyncio.wait_for(self._answered.wait(), PATIENCE)
        except TimeoutError:
            self._answers = False
        if sent >= FLIGHT / 2:
            rate = sent / (time.monotonic() - self._began)
            self._flight = min(max(FLIGHT, round(rate * DELAY)), LARGEST_FLIGHT)
