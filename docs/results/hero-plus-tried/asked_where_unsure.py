"""A second round of hero+ that asks only where the representation is unsure; tried, and dropped.

    python docs/results/hero-plus-tried/asked_where_unsure.py RUN...

Each RUN is a finished one of `hero bench learn --methods hero+@128` (in OUT/runs). A copy of it
goes back to its first checkpoint and draws its second round anew: 256 candidates from fresh noise,
of which the 64 nearest to a chance of one half are labelled. It then learns as it would, and is
scored like a study's cell: compare with the run's own second point.
"""

import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import torch

from hero_engine.core.batch import Batch
from hero_engine.distributed.sharding import Pixels, Wanted, sample_together
from hero_engine.evaluation.evaluate import Exam
from hero_engine.labelling.annotators import JudgeLabeller
from hero_engine.labelling.simulated import read_habits
from hero_engine.policy.noise_prior import FRESH
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.loop import Run
from hero_engine.training.progress_reports import Meter
from hero_engine.training.round_images import Pictures
from hero_engine.training.state import Learner

CANDIDATES = 256


def unsure(pictures: Pictures, at_once: int) -> Batch:
    """The candidates that the head on the first round's labels can tell least about."""
    learner, settings = pictures.learner, pictures.settings
    shape = learner.model.latent_shape
    noises = FRESH.draw(CANDIDATES, shape, settings.noise, settings.seed, pictures.round)
    wanted = Wanted(pictures.round, tuple(range(CANDIDATES)), noises, None, decoded=False)
    batch, _ = sample_together(
        learner.ranks, learner.model, settings, wanted, at_once, lambda share: None
    )
    chances = learner.foreseen(batch)
    assert chances is not None
    picked = (chances - 0.5).abs().argsort()[: settings.batch].sort().values
    print(f"  chance of good: {chances.mean():.3f}, of the asked {chances[picked].mean():.3f}")
    return Batch(batch.noises_B_C_H_W[picked], batch.latents_B_C_H_W[picked])


class Asking(Pictures):
    """Pictures whose rounds are what `unsure` picks."""

    asked: Batch | None = None

    def _sampled(self, turn: list[range], at_once: int, meter: Meter) -> tuple[Batch, Pixels]:
        Asking.asked = Asking.asked or unsure(self, at_once)
        part = Asking.asked.some(slice(turn[0].start, turn[-1].stop))
        return part, self.learner.model.decode(part.latents_B_C_H_W)


def forget_second_round(run: Path) -> None:
    """Back to the checkpoint after the first."""
    for part in ("checkpoints/r002", "rounds/r001", "images/r001"):
        shutil.rmtree(run / part)
    with sqlite3.connect(run / "journal.db") as journal:
        for table in ("rounds", "images", "marks"):
            journal.execute(f"DELETE FROM {table} WHERE round >= 1")


def second_round(run: Path) -> None:
    """Draw, label and learn it; print the score."""
    forget_second_round(run)
    folder, habits = RunDir.open(run), read_habits("judge")
    Asking.asked = None
    with folder.lock(), Journal(folder.journal_path) as journal:
        learner = Learner.open(folder.settings)
        judge = JudgeLabeller(folder.task, habits, folder.settings.seed)
        Run(
            folder, journal, learner, judge, tell=lambda event: None, check_stop=lambda: None
        ).run_round()
        wanted = habits.wanted(folder.task)
        exam = Exam(folder, 128, None, lambda done, total: None, learner=learner, wanted=wanted)
        score, goods = exam.score(FRESH, base=False), journal.metrics()[1]["good"]
    print(f"{run.name}: {goods} of the asked are good; then fresh {score.rate:.3f}", flush=True)


def main() -> None:
    """Command line."""
    import hero_engine.training.loop

    torch.set_num_threads(1)
    hero_engine.training.loop.Pictures = Asking  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as room:
        for name in sys.argv[1:]:
            copy = Path(room) / Path(name).name
            shutil.copytree(name, copy)
            second_round(copy)


if __name__ == "__main__":
    main()
