"""An engine without torch, and pictures without a model: what the app's tests play against."""

from __future__ import annotations

import colorsys
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from hero_engine.core.events import (
    Command,
    Event,
    Finished,
    ImagesReady,
    PhaseStarted,
    Progress,
    RoundFinished,
    RunOpened,
    Stop,
    SubmitLabels,
)
from hero_engine.core.labels import Mark
from hero_engine.storage.journal import Journal
from hero_engine.training.fixed_noise import fixed_noise_path

SIDE = 96
SUCCESS = "an undeformed hand with five fingers"
Paint = Callable[[int, int], Image.Image]


def colour(index: int) -> tuple[int, int, int]:
    """A colour that no other picture of a round of 64 has."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.5 + index % 3 * 0.2, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def paint(round: int, index: int) -> Image.Image:
    """A disc on its picture's own colour; where it sits tells pictures and quarters apart."""
    picture = Image.new("RGB", (SIDE, SIDE), colour(index))
    x, y = (index % 4) * SIDE // 4, (index // 4 % 4) * SIDE // 4
    corner = (x, y, x + SIDE // 2, y + SIDE // 2)
    ImageDraw.Draw(picture).ellipse(corner, fill=(20 + 30 * (round % 4), 24, 28))
    return picture


def open_journal(run_dir: Path) -> Journal:
    """The run's journal for one `with`: SQLite connections stay in their thread."""
    return Journal(run_dir / "journal.db")


def opened(
    run_dir: Path,
    *,
    batch: int,
    round: int = 0,
    budget: int = 512,
    prompts: tuple[str, ...] = (),
) -> RunOpened:
    """What an engine says first."""
    return RunOpened(
        run=str(run_dir),
        task="hands",
        prompt=prompts[0] if prompts else "1 hand",
        success=SUCCESS,
        model="embedded",
        update="forward",
        preset="embedded",
        batch=batch,
        budget=budget,
        labels_used=round * batch,
        round=round,
        prompts=prompts,
    )


class FakeEngine:
    """Does nothing until the test calls the methods below."""

    def __init__(self, run_dir: Path, batch: int, picture: Paint = paint) -> None:
        self.run_dir = run_dir
        self.batch = batch
        self.commands: list[Command] = []
        self.prompts: tuple[str, ...] = ()
        self.deliver: Callable[[Event], None] = lambda event: None
        self._picture = picture
        self._alive = False

    def __call__(self, deliver: Callable[[Event], None]) -> FakeEngine:
        self.deliver = deliver
        return self

    def start(self) -> None:
        self._alive = True

    def is_alive(self) -> bool:
        return self._alive

    def send(self, command: Command) -> None:
        self.commands.append(command)
        if isinstance(command, Stop):
            self._alive = False
            self.deliver(Finished(str(self.run_dir), 0, 0, "stopped"))

    def open(self, round: int = 0) -> None:
        self.deliver(opened(self.run_dir, batch=self.batch, round=round, prompts=self.prompts))

    def phase(self, round: int, phase: str) -> None:
        with open_journal(self.run_dir) as book:
            book.add_round(round)
            book.set_phase(round, phase)
        self.deliver(PhaseStarted(round, phase))

    def images(self, round: int, indices: Sequence[int]) -> None:
        paths = {index: self._save(round, index) for index in indices}
        with open_journal(self.run_dir) as book:
            book.add_images(round, {i: str(p.relative_to(self.run_dir)) for i, p in paths.items()})
        self.deliver(ImagesReady(round, tuple(paths), tuple(map(str, paths.values()))))

    def progress(self, round: int, step: str, done: int, total: int) -> None:
        phase = "sampling" if step == "sample" else "training"
        self.deliver(Progress(round, phase, step, done, total, float(total - done)))

    def finish_round(
        self,
        round: int,
        good: int,
        note: str = "",
        metrics: dict[str, float] | None = None,
        unlabelled: int = 0,
    ) -> None:
        event = RoundFinished(
            round=round,
            labels=self.batch - unlabelled,
            good=good,
            unlabelled=unlabelled,
            labels_total=self.batch * (round + 1),
            reward_mean=0.4 + 0.07 * round,
            reward_std=0.1,
            updated=True,
            note=note,
            seconds={"sample": 1.0, "embed": 1.0, "update": 1.0},
            metrics=metrics or {},
        )
        with open_journal(self.run_dir) as book:
            book.add_round(round)
            book.finish_round(round, event.__dict__)
        self.deliver(event)

    def past(self, round: int, best: int) -> None:
        """A round of which the gallery knows the best, and what the same noises became in it."""
        path = self._save(round, best)
        for index in range(4):
            same = fixed_noise_path(self.run_dir, round, index)
            same.parent.mkdir(parents=True, exist_ok=True)
            self._picture(round, 20 + index).save(same)
        with open_journal(self.run_dir) as book:
            book.add_round(round)
            book.add_images(round, {best: str(path.relative_to(self.run_dir))})
            book.mark(round, [Mark(best, "best")], source="person")

    def _save(self, round: int, index: int) -> Path:
        path = self.run_dir / "images" / f"r{round:03}" / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._picture(round, index).save(path)
        return path


class PlayedEngine(FakeEngine):
    """Plays whole rounds in a thread, like the real one: sampling, labels, training, again."""

    def __init__(
        self, run_dir: Path, batch: int, *, rounds: int, pace: float, picture: Paint = paint
    ) -> None:
        super().__init__(run_dir, batch, picture)
        self._rounds = rounds
        self._pace = pace
        self._inbox: queue.Queue[Command] = queue.Queue()
        self._thread = threading.Thread(target=self._play)

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def send(self, command: Command) -> None:
        self._inbox.put(command)

    def _play(self) -> None:
        with open_journal(self.run_dir) as book:
            current = book.current() or (0, "sampling")
        self.open(current[0])
        for round in range(current[0], self._rounds):
            if not self._round(round):
                self.deliver(Finished(str(self.run_dir), round, round * self.batch, "stopped"))
                return
        self.deliver(Finished(str(self.run_dir), self._rounds, self._rounds * self.batch, "budget"))

    def _round(self, round: int) -> bool:
        with open_journal(self.run_dir) as book:
            there = set(book.images(round))
        self.phase(round, "sampling")
        for start in range(0, self.batch, 8):
            if set(range(start, start + 8)) <= there:
                continue
            if self._stopped(self._pace):
                return False
            self.images(round, range(start, min(self.batch, start + 8)))
            self.progress(round, "sample", min(self.batch, start + 8), self.batch)
        self.phase(round, "labelling")
        command = self._inbox.get()
        if not isinstance(command, SubmitLabels):
            return False
        self.phase(round, "training")
        for step in range(20):
            self.progress(round, "embed" if step < 10 else "update", step % 10, 10)
            if self._stopped(self._pace / 4):
                return False
        with open_journal(self.run_dir) as book:
            labels = book.labels(round, self.batch)
        self.finish_round(round, sum(label is True for label in labels.good))
        return True

    def _stopped(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                if isinstance(self._inbox.get(timeout=left), Stop):
                    return True
            except queue.Empty:
                return False
        return False
