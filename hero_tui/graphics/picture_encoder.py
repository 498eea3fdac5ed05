"""Encodes pictures off the event loop and remembers them by picture and size."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hero_engine.core.errors import HeroError
from hero_engine.storage.png import read_png
from hero_tui.graphics.painter import Box, Drawing, Painter

REMEMBERED = 160
"""Drawings kept.

The pages of a round and a few zooms. Below kitty's 240 ids, so none is reused early.
"""

Result = TypeVar("Result")
Key = tuple[Path, Box]


class PictureEncoder:
    """One encoding thread (the engine needs the other core) and a least-recently-used cache.

    `forgotten` is called on the event loop with a drawing that left the cache.
    """

    def __init__(self, painter: Painter, forgotten: Callable[[Drawing], None]) -> None:
        self.painter = painter
        self._forgotten = forgotten
        self._drawings: OrderedDict[Key, Drawing] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hero-encoder")

    async def drawings(self, keys: Sequence[Key]) -> list[Drawing | HeroError]:
        """These pictures for these boxes, from the cache or encoded in the thread, all in one go:
        on a machine at work, every way there and back waits for the interpreter.

        The error stands for a picture that cannot be read.
        """
        found = {key: self.known(*key) for key in keys}
        missing = [key for key, drawing in found.items() if drawing is None]
        painted: dict[Key, Drawing | HeroError] = {}
        if missing:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._thread, self._paint_all, missing)
            painted = dict(zip(missing, results, strict=True))
        for key, result in painted.items():
            if isinstance(result, Drawing):
                self._remember(key, result)
        return [found[key] or painted[key] for key in keys]

    async def beside(self, call: Callable[[], Result]) -> Result:
        """Call a function in the thread, after the pictures that wait there."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def known(self, path: Path, box: Box) -> Drawing | None:
        """The drawing in the cache, if there is one."""
        key = path, box
        if key in self._drawings:
            self._drawings.move_to_end(key)
        return self._drawings.get(key)

    def held(self) -> list[Drawing]:
        """Every drawing in the cache."""
        return list(self._drawings.values())

    def close(self) -> None:
        """Let the thread end; nothing waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _paint_all(self, keys: Sequence[Key]) -> list[Drawing | HeroError]:
        return [self._paint(*key) for key in keys]

    def _paint(self, path: Path, box: Box) -> Drawing | HeroError:
        try:
            return self.painter.paint(read_png(path), box)
        except HeroError as error:
            return error

    def _remember(self, key: Key, drawing: Drawing) -> None:
        self._drawings[key] = drawing
        while len(self._drawings) > REMEMBERED:
            self._forgotten(self._drawings.popitem(last=False)[1])
