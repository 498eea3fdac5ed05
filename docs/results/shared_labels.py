"""What labels teach that several prompts share, or that come from other runs (embedded model).

    python docs/results/shared_labels.py prompts OUT --seeds 3-5
    python docs/results/shared_labels.py imports OUT --seeds 3-5

`prompts` compares one run on three tasks' prompts, 64 labels each, with a run of each task alone.
Its optimizer steps are three times as many, since each has a fixed number of images; a further run
has as many steps as a single one. `imports` compares a run on hands that labels 72 pictures with
one that imports 64 labelled pictures of another seed's run and labels 8, and with one that labels
8. Labels are the judge's; success is that of 128 pictures with fresh noise by the other judge.

Start it again to continue: OUT/figures.jsonl has what is finished. Prints the mean of each row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hero_engine.config.tasks import load_task
from hero_engine.core.errors import ExitCode
from hero_engine.evaluation.evaluate import Scorer
from hero_engine.policy.noise_prior import FRESH
from hero_engine.storage.run_folder import RunDir
from hero_engine.training.trainer import trained
from hero_tui.commands.bench.bench_learn import read_seeds

TASKS = ("hands", "blue-rose", "black-cat")
LABELS, OWN, IMAGES = 64, 8, 128
STEPS = 40
"""Optimizer steps of a round, the default of the embedded model."""

Rows = Iterator[tuple[str, Path, list[str]]]
"""A row's name, its run, and the tasks that it is scored on."""


def main() -> None:
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=("prompts", "imports"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="3-5")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    make: dict[str, Callable[[Path, int], Rows]] = {"prompts": prompts, "imports": imports}
    table = Table(given.out / "figures.jsonl")
    for seed in read_seeds(given.seeds):
        for name, run, tasks in make[given.experiment](given.out, seed):
            table.add(name, seed, run, tasks)
    table.show()


class Table:
    """The figures so far, a line for each run and task."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def add(self, name: str, seed: int, run: Path, tasks: list[str]) -> None:
        """Score a run on the tasks that it has no figure for."""
        known = {(row["row"], row["seed"], row["task"]) for row in self.rows}
        missing = [task for task in tasks if (name, seed, task) not in known]
        if not missing:
            return
        folder = RunDir.open(run)
        learned = trained(folder)
        for task in missing:
            scorer = Scorer(folder, IMAGES, load_task(task).prompt, learned=learned)
            score = scorer.score(FRESH, base=False)
            found = {"row": name, "seed": seed, "task": task, "success": score.rate}
            self.rows.append(found | {"good_diversity": score.good_diversity})
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")

    def show(self) -> None:
        """Print every row's mean over the seeds, by task."""
        for name, task in dict.fromkeys((row["row"], row["task"]) for row in self.rows):
            own = [row["success"] for row in self.rows if (row["row"], row["task"]) == (name, task)]
            each = " ".join(f"{rate:.2f}" for rate in own)
            print(f"{name:<28} {task:<10} {sum(own) / len(own):.3f}  ({each})")


def prompts(out: Path, seed: int) -> Rows:
    """Each task alone, all together, and all together with a single run's steps."""
    for task in TASKS:
        batch = f"batch={LABELS}"
        yield "alone", learned(out / f"alone-{task}-{seed}", seed, [task], [batch]), [task]
    first, *others = (load_task(task).prompt for task in TASKS)
    drawn = [first, *(word for prompt in others for word in ("--prompt", prompt))]
    batch = f"batch={len(TASKS) * LABELS}"
    for name, steps in (("together", len(TASKS) * STEPS), ("together, steps of one", STEPS)):
        run = out / f"together-{steps}-{seed}"
        yield name, learned(run, seed, drawn, [batch, f"forward.steps={steps}"]), [*TASKS]


def imports(out: Path, seed: int) -> Rows:
    """72 own labels, 64 imported and 8 own, 8 own."""
    count = LABELS + OWN
    own = [learned(out / f"own-{s}", s, ["hands"], [f"batch={count}"]) for s in (seed, seed + 1)]
    yield f"{count} own", own[0], ["hands"]
    run = out / f"imported-{seed}"
    yield f"{LABELS} imported, {OWN} own", with_imports(run, seed, own[1]), ["hands"]
    alone = learned(out / f"few-{seed}", seed, ["hands"], [f"batch={OWN}"])
    yield f"{OWN} own", alone, ["hands"]


def with_imports(run: Path, seed: int, other: Path) -> Path:
    """A run that imports the first pictures of another one."""
    few = ["hands", "--set", f"batch={OWN}", "--rounds", "1", "--seed", str(seed)]
    if not run.exists():
        hero("run", *few, "--headless", "--dir", str(run))
    if not (run / "imported").exists():
        source = RunDir.open(other)
        labelled = hero("labels", str(other), "--json").splitlines()[:LABELS]
        listed = run.with_suffix(".jsonl")
        rows = map(json.loads, labelled)
        lines = [
            {
                "path": str(source.picture_path(0, row["image"]).absolute()),
                "label": "good" if row["label"] in ("good", True) else "bad",
            }
            for row in rows
        ]
        listed.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        hero("import", str(run), str(listed))
    hero("resume", str(run), "--headless", "--labels", "judge")
    return run


def learned(run: Path, seed: int, task: list[str], settings: list[str]) -> Path:
    """A run of one round with the judge's labels, brought to its end."""
    changes = [word for each in settings for word in ("--set", each)]
    if run.exists():
        hero("resume", str(run), "--headless", "--labels", "judge")
    else:
        rest = ["--rounds", "1", "--seed", str(seed), "--headless", "--labels", "judge"]
        hero("run", *task, *changes, *rest, "--dir", str(run))
    return run


def hero(*words: str) -> str:
    """What a command prints. Ends this script where the command fails."""
    command = [sys.executable, "-m", "hero_tui.cli", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (ExitCode.DONE, ExitCode.LABELS):
        sys.exit(f"hero {' '.join(words)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
