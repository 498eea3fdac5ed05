"""The app with a fake engine that only shows pictures, to measure the bytes sent.

`python -m hero_tui.commands.bench.fake_engine_app RUN` runs it on this terminal. The pictures are
those in RUN; when a file `RUN/replace` appears, another picture replaces the first.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from hero_engine.core.events import (
    Command,
    Event,
    Finished,
    ImagesReady,
    PhaseStarted,
    RunOpened,
    Stop,
)
from hero_engine.storage.journal import Journal

PICTURES = 32
POLL = 0.05


def prepare(folder: Path, pixels: int = 128) -> None:
    """Draw PICTURES + 1 hands into a folder; the last one replaces the first later."""
    import numpy as np
    from PIL import Image

    from hero_engine.embedded.drawing import SUBJECTS

    subject = SUBJECTS["hands"]
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(PICTURES + 1):
        random = np.random.default_rng(index)
        _, shown, look = subject.cast(random, {})
        drawn = subject.paint(random, {**shown, **look}).image
        drawn.resize((pixels, pixels), Image.Resampling.BOX).save(folder / f"{index:03}.png")


class FakeEngine(threading.Thread):
    """An engine that shows the pictures of a folder and waits."""

    def __init__(self, folder: Path, deliver: Callable[[Event], None]) -> None:
        super().__init__(daemon=True)
        self._folder, self._deliver = folder, deliver
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def send(self, command: Command) -> None:
        """Hand over a command."""
        self._inbox.put(command)

    def run(self) -> None:
        """Show the pictures, replace one once RUN/replace exists, end on Stop."""
        with Journal(self._folder / "journal.db") as journal:
            journal.add_round(0)
            self._deliver(PhaseStarted(0, "sampling"))
            self._show(journal, {index: f"{index:03}.png" for index in range(PICTURES)})
            journal.set_phase(0, "labelling")
        self._deliver(PhaseStarted(0, "labelling"))
        replaced = False
        while not self._stopped():
            if not replaced and (self._folder / "replace").exists():
                replaced = True
                self._deliver(ImagesReady(0, (0,), (str(self._folder / f"{PICTURES:03}.png"),)))
        self._deliver(Finished(str(self._folder), 0, 0, "stopped"))

    def _show(self, journal: Journal, names: dict[int, str]) -> None:
        journal.add_images(0, names)
        paths = tuple(str(self._folder / name) for name in names.values())
        self._deliver(ImagesReady(0, tuple(names), paths))

    def _stopped(self) -> bool:
        try:
            return isinstance(self._inbox.get(timeout=POLL), Stop)
        except queue.Empty:
            return False


def main(folder: Path) -> int:
    """Run the app on this terminal; returns its exit code."""
    from hero_tui.launch import run_on_terminal

    return run_on_terminal(
        folder,
        lambda deliver: FakeEngine(folder, deliver),
        graphics="auto",
        opened=RunOpened(
            run=str(folder),
            task="hands",
            prompt="1 hand",
            success="one hand with five fingers",
            model="none",
            update="forward",
            preset="embedded",
            batch=PICTURES,
            budget=512,
            labels_used=0,
            round=0,
        ),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
