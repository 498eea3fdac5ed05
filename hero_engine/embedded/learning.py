"""The learning figures of the README: how much do 512 labels from the judge change success?

::

    python -m hero_engine.embedded.learning --out figures.json

``hero bench learn`` compares more methods, and while they learn; this one is kept for that table.

For every update and seed: a whole run with the preset "embedded", labelled by the labeller judge;
then pictures from the tuned model, with fresh noise N(0, I) and with the run's guided noise, scored
by the evaluator judge, which never labels. The base is scored with the same fresh noises and the
update's own sampler. The presets were tuned with seeds 0 to 2, so those are not measured here.

Intervals are over seeds (Student's t, 95%). Runs and scores are kept beside ``--out``, so a run
that was interrupted goes on and a finished one is not repeated; give each its own process and
one thread with ``OMP_NUM_THREADS=1`` and ``--seeds``, then collect with all seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hero_engine.counting import round_name
from hero_engine.disk.rundir import RunDir, is_run
from hero_engine.errors import HeroError
from hero_engine.labellers import JudgeLabeller
from hero_engine.noise import FRESH
from hero_engine.protocol import Event, Failed, RoundFinished
from hero_engine.scoring.evaluate import Exam
from hero_engine.study.summary import mean_of
from hero_engine.tasks import load_task, settings_for
from hero_engine.worker import EngineWorker

POLICIES = {
    "base": "base, fresh noise",
    "fresh": "tuned, fresh noise",
    "guided": "tuned, guided noise",
}


def tell(event: Event) -> None:
    """Rounds to stderr; an error ends the script."""
    if isinstance(event, RoundFinished):
        print(f"  {round_name(event.round)}: {event.good} of {event.labels} good", file=sys.stderr)
    if isinstance(event, Failed):
        raise HeroError(event.message, exit_code=event.exit_code)


def one_run(folder: Path, task_name: str, update: str, seed: int, images: int) -> dict[str, Any]:
    """Train once and score; a finished result is read back."""
    kept = folder / f"{task_name}-{update}-{seed}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    path = folder / f"{task_name}-{update}-{seed}"
    print(path, file=sys.stderr)
    if is_run(path):
        run = RunDir.open(path)
    else:
        task = load_task(task_name)
        settings = settings_for(task, "embedded", "embedded", {"update": update, "seed": seed})
        run = RunDir.create(path, settings, task)
    EngineWorker(run, tell, labeller=JudgeLabeller(run.task)).run()
    exam = Exam(run, images)
    result: dict[str, Any] = {
        "task": task_name,
        "update": update,
        "seed": seed,
        "images": images,
        "base": base_score(folder / f"{task_name}-{update}-base.json", exam),
        "fresh": asdict(exam.score(FRESH, base=False)),
        "guided": asdict(exam.score(exam.learner.prior, base=False)),
        "rounds": rounds_of(run),
    }
    kept.write_text(json.dumps(result, indent=1))
    return result


def base_score(kept: Path, exam: Exam) -> dict[str, Any]:
    """The base's score with fresh noise: of no seed, so taken once an update (and its sampler)."""
    if not kept.exists():
        kept.write_text(json.dumps(asdict(exam.score(FRESH, base=True))))
    return dict(json.loads(kept.read_text()))


def rounds_of(run: RunDir) -> list[dict[str, Any]]:
    """What every round reported."""
    lines = (run.path / "events.jsonl").read_text("utf-8").splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == "round"]


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95% interval (nan for one seed)."""
    found = mean_of(values)
    return found.mean, math.nan if found.half is None else found.half


def summary(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every update a row of its base, and one of each noise."""
    rows: list[dict[str, Any]] = []
    for update in dict.fromkeys(r["update"] for r in results):
        of = [r for r in results if r["update"] == update]
        base = of[0]["base"]
        rows.append({"update": update, "noise": "base", **base})
        for noise in ("fresh", "guided"):
            rates = [r[noise]["rate"] for r in of]
            rows.append(
                {
                    "update": update,
                    "noise": noise,
                    "rates": rates,
                    "rate": mean_and_interval(rates),
                    "lift": mean_and_interval([r - base["rate"] for r in rates]),
                    "diversity": statistics.fmean(r[noise]["diversity"] for r in of),
                    "good_diversity": statistics.fmean(r[noise]["good_diversity"] for r in of),
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = [
        "| update | policy and noise | success | lift over the base | diversity, of the good |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row["noise"] == "base":
            low, high = row["interval"]
            rate, lift = f"{row['rate']:.3f} ({low:.3f} to {high:.3f})", ""
        else:
            rate, lift = f"{row['rate'][0]:.3f} ± {row['rate'][1]:.3f}", f"{row['lift'][0]:+.3f}"
        cells = (f"`{row['update']}`", POLICIES[row["noise"]], rate, lift, spread(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(row: dict[str, Any]) -> str:
    """Diversity of all pictures, and of the successes alone."""
    return f"{row['diversity']:.1f}, {row['good_diversity']:.1f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the summary (JSON) goes")
    parser.add_argument("--task", default="hands")
    parser.add_argument("--updates", nargs="+", default=["forward", "ddpo"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[3, 4, 5])
    parser.add_argument("--images", type=int, default=384)
    args = parser.parse_args()
    folder = args.out.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    results = [
        one_run(folder, args.task, update, seed, args.images)
        for update in args.updates
        for seed in args.seeds
    ]
    rows = summary(results)
    args.out.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
