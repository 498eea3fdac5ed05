"""The learning figures of the README: how much do 512 labels from the judge change success?

For every update and seed, through the public commands alone::

    hero run --task hands --headless --labels judge --update UPDATE --seed SEED --dir RUN
    hero eval RUN --images 384 --noise fresh  --json
    hero eval RUN --images 384 --noise guided --json

The labeller judge gives the labels; the evaluator, which never labels, scores. A figure's
interval is over seeds (Student's t, 95%). Run it with::

    python -m hero_engine.embedded.learning --out learning.json

Finished runs are kept in the folder of ``--out`` and not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STUDENT_T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
"""Two-sided 97.5% points of Student's t for that many seeds (degrees of freedom + 1)."""
NOISES = ("fresh", "guided")


def hero(*arguments: str) -> str:
    """Standard output of one ``hero`` command; its talk goes to our standard error."""
    command = [sys.executable, "-m", "hero_tui.cli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def one_run(folder: Path, task: str, update: str, seed: int, images: int) -> dict[str, Any]:
    """Train once and evaluate with both noises; a finished result is read back."""
    kept = folder / f"{task}-{update}-{seed}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    run = folder / f"{task}-{update}-{seed}"
    if run.exists():
        lines = hero("resume", str(run), "--headless", "--labels", "judge")
    else:
        lines = hero(
            "run",
            "--task",
            task,
            "--headless",
            "--labels",
            "judge",
            "--update",
            update,
            "--seed",
            str(seed),
            "--dir",
            str(run),
        )
    result: dict[str, Any] = {"task": task, "update": update, "seed": seed}
    result["rounds"] = [json.loads(line) for line in lines.splitlines() if '"round"' in line]
    for noise in NOISES:
        result[noise] = json.loads(
            hero("eval", str(run), "--images", str(images), "--noise", noise, "--json")
        )
    kept.write_text(json.dumps(result, indent=1))
    return result


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95% interval (nan for one seed)."""
    mean = statistics.fmean(values)
    if len(values) not in STUDENT_T_95:
        return mean, math.nan
    return mean, STUDENT_T_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))


def summary(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for every update and noise: base, tuned and difference over the seeds."""
    rows = []
    for update in dict.fromkeys(r["update"] for r in results):
        for noise in NOISES:
            of = [r[noise] for r in results if r["update"] == update]
            lifts = [e["success_rate"] - e["base_success_rate"] for e in of]
            rows.append(
                {
                    "update": update,
                    "noise": noise,
                    "seeds": len(of),
                    "images": of[0]["n"],
                    "base": mean_and_interval([e["base_success_rate"] for e in of]),
                    "tuned": mean_and_interval([e["success_rate"] for e in of]),
                    "lift": mean_and_interval(lifts),
                    "base_diversity": mean_and_interval([e["base_diversity"] for e in of]),
                    "diversity": mean_and_interval([e["diversity"] for e in of]),
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = [
        "| update | noise | base | tuned | lift | diversity (base) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row[k][0]:.3f} ± {row[k][1]:.3f}" for k in ("base", "tuned", "lift")]
        spread = f"{row['diversity'][0]:.2f} ({row['base_diversity'][0]:.2f})"
        lines.append(f"| {row['update']} | {row['noise']} | {' | '.join(cells)} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the summary (JSON) goes")
    parser.add_argument("--task", default="hands")
    parser.add_argument("--updates", nargs="+", default=["forward", "ddpo"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
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
