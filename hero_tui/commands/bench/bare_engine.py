"""The engine without the app, one round per line on stdin.

`python -m hero_tui.commands.bench.bare_engine RUN`.

For each line it labels a round, learns from it and samples the next one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hero_engine.core.errors import StopRequested
from hero_engine.core.labels import Mark
from hero_engine.labelling.annotators import Pictures
from hero_engine.runtime.engine_thread import EngineThread
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir


class ImmediateAnnotator:
    """Labels every other picture good and the first one best, for each line on stdin."""

    def label(self, round: int, pictures: Pictures, journal: Journal) -> None:
        """Wait for a line; StopRequested at the end of stdin."""
        if not sys.stdin.readline():
            raise StopRequested
        marks = [Mark(image, "bad" if image % 2 else "good") for image in pictures]
        journal.mark(round, [*marks, Mark(0, "best")], source="bench")
        journal.submit(round)


def main(folder: Path) -> None:
    """Work until stdin ends."""
    EngineThread(RunDir.open(folder), lambda event: None, annotator=ImmediateAnnotator()).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
