"""The `hero` command, killed at random times and resumed until its run has ended."""

from __future__ import annotations

import random
import shutil
import signal
import time
from math import inf
from pathlib import Path

from hero_process import BATCH, ROUNDS, Hero, small_run, write_labels
from stand_ins import write_pipeline
from tiny_runs import left_behind
from trials import Tally

from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir, is_run


class Command:
    """`hero run --headless`, labels from a file; `straight`: what an undisturbed one leaves."""

    def __init__(self, root: Path) -> None:
        self.hero = Hero(root)
        self.labels = write_labels(root / "labels.jsonl", range(ROUNDS))
        self.model = write_pipeline(root / "model-64", 4, 8, vae_levels=4)
        path = root / "straight"
        self.hero.warm(*self._begin(path)).end()
        begun = time.monotonic()
        self.hero.warm(*self._begin(root / "timed")).end()
        self.seconds = time.monotonic() - begun
        self.straight = left_behind(RunDir.open(path))

    def _begin(self, path: Path) -> list[object]:
        return small_run(self.model, path, self.labels)

    def killed(self, times: int, seed: int) -> Tally:
        """Kill runs `kills` times in all."""
        tally, draws = Tally(), random.Random(seed)
        while tally.faults < times:
            path = self.hero.home / f"chance-{tally.faults}"
            done = False
            while not done:
                after = draws.uniform(0, 1.5 * self.seconds) if tally.faults < times else inf
                done = self._killed(path, after, tally)
            if left_behind(RunDir.open(path)) != self.straight:
                tally.different.append(path.name)
            shutil.rmtree(path)
        return tally

    def _killed(self, path: Path, after: float, tally: Tally) -> bool:
        """One process; whether it ended before its kill."""
        resume = ["resume", path, "--headless", "--labels", self.labels]
        process = self.hero.warm(*(resume if is_run(path) else self._begin(path)))
        until = time.monotonic() + after
        while (done := process.ended()) is None and time.monotonic() < until:
            time.sleep(0.005)
        if done is None:
            process.signal(signal.SIGKILL)
            done = process.end()
        if done.code == -signal.SIGKILL:
            tally.faults += 1
            rounds = [line["round"] for line in done.lines() if line["event"] == "round"]
            tally.labels += BATCH * len(rounds)
            tally.lost += sum(BATCH - self._labelled(path, round) for round in rounds)
            return False
        if done.code:
            tally.different.append(f"{path.name}: exit code {done.code}: {done.err}")
        return True

    def _labelled(self, path: Path, round: int) -> int:
        with Journal.reading(path / "journal.db") as journal:
            return journal.labels(round, BATCH).labelled
