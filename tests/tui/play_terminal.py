"""Runs the app against a played engine on this terminal.

`python tests/tui/play_terminal.py RUN`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fake_engine import PlayedEngine, opened

from hero_tui.app import run_on_terminal


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pace", type=float, default=0.3)
    parser.add_argument("--graphics", default="auto")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    engine = PlayedEngine(options.run, options.batch, rounds=options.rounds, pace=options.pace)
    return run_on_terminal(
        options.run,
        engine,
        graphics=options.graphics,
        opened=opened(options.run, batch=options.batch),
    )


if __name__ == "__main__":
    sys.exit(main())
