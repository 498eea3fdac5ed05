"""Runs the app against a played engine on this terminal.

`python tests/support/play_terminal.py RUN`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from fake_engine import Paint, PlayedEngine, opened, paint
from PIL import Image

from hero_engine.core.events import ImagesReady
from hero_tui.launch import run_on_terminal

CRASH = "crash"
"""A file in the run folder that brings the app down."""


def noisy_paint(round: int, index: int) -> Image.Image:
    """A picture from a library that cannot be quiet."""
    os.write(2, b"libnoise: from C\n")
    print("libnoise: from Python", file=sys.__stderr__, flush=True)
    return paint(round, index)


def swapped_paint(one: int, other: int, painter: Paint) -> Paint:
    """Pictures of which two have each other's place; none, when they are the same."""
    places = {one: other, other: one}
    return lambda round, index: painter(round, places.get(index, index))


class WildEngine(PlayedEngine):
    """Reports a picture that no round has, once the test asks for it; the app crashes on it."""

    def phase(self, round: int, phase: str) -> None:
        super().phase(round, phase)
        if phase == "labelling":
            while not (self.run_dir / CRASH).exists():
                time.sleep(0.05)
            self.deliver(ImagesReady(round, (1_000_000,), ("none.png",)))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pace", type=float, default=0.3)
    parser.add_argument("--graphics", default="auto")
    parser.add_argument("--noisy", action="store_true")
    parser.add_argument("--crash", action="store_true")
    parser.add_argument("--swap", type=int, nargs=2, default=(0, 0), metavar="IMAGE")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    picture = swapped_paint(*options.swap, noisy_paint if options.noisy else paint)
    kind = WildEngine if options.crash else PlayedEngine
    engine = kind(
        options.run, options.batch, rounds=options.rounds, pace=options.pace, picture=picture
    )
    return run_on_terminal(
        options.run,
        engine,
        graphics=options.graphics,
        opened=opened(options.run, batch=options.batch),
    )


if __name__ == "__main__":
    sys.exit(main())
