"""Runs the app against a played engine on this terminal.

`python tests/tui/play_terminal.py RUN`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fake_engine import PlayedEngine, opened, paint
from PIL import Image

from hero_tui.app import run_on_terminal


def noisy_paint(round: int, index: int) -> Image.Image:
    """A picture from a library that cannot be quiet."""
    os.write(2, b"libnoise: from C\n")
    print("libnoise: from Python", file=sys.__stderr__, flush=True)
    return paint(round, index)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pace", type=float, default=0.3)
    parser.add_argument("--graphics", default="auto")
    parser.add_argument("--noisy", action="store_true")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    picture = noisy_paint if options.noisy else paint
    engine = PlayedEngine(
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
