"""Finds near-copies of the best among a round's pictures, off the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from hero_engine.core.errors import HeroError
from hero_engine.policy.noise_origins import Origin
from hero_engine.storage.png import read_png
from hero_tui.session.noise_tags import Thumbnail, near_copies, thumbnail

Beside = Callable[[Callable[[], dict[Path, Thumbnail]]], Awaitable[dict[Path, Thumbnail]]]
"""Calls a function in another thread, and returns what it returns."""


class CopyFinder:
    """Remembers the thumbnails of the pictures that it was asked about last."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        self._known: dict[Path, Thumbnail] = {}

    async def among(
        self,
        bests: Mapping[int, Path],
        pictures: Mapping[int, Path],
        groups: Sequence[int],
        origins: Sequence[Origin],
        first: Mapping[int, Sequence[Path]],
    ) -> frozenset[int]:
        """Those of the pictures that repeat the best of their prompt.

        bests: by the prompt's number; groups: that of each picture. first: the first pictures of
        each prompt. A picture that cannot be read is left out.
        """
        if not bests:
            return frozenset()
        here = dict(pictures)
        asked = [*bests.values(), *here.values(), *chain(*(first.get(each, ()) for each in bests))]
        missing = [path for path in asked if path not in self._known]
        read = await self._beside(lambda: _thumbnails(missing)) if missing else {}
        known = self._known | read
        self._known = {path: known[path] for path in asked if path in known}
        found = set[int]()
        for group, best in bests.items():
            own = {
                i: known[path] for i, path in here.items() if groups[i] == group and path in known
            }
            if best in known:
                by_chance = [known[path] for path in first.get(group, ()) if path in known]
                found |= near_copies(known[best], own, origins, by_chance)
        return frozenset(found)


def _thumbnails(paths: Sequence[Path]) -> dict[Path, Thumbnail]:
    found = {}
    for path in paths:
        try:
            found[path] = thumbnail(read_png(path))
        except HeroError:
            continue
    return found
