"""How often a run's good pictures became more alike once it had succeeded.

    python docs/results/late_variety.py docs/results/study

Counts, of the runs of hero, hero-forward and hero+ on the perfect judge's labels that had a success
of 0.9 before their last score, those whose good pictures are more alike in the last score than when
they first had it (`fresh.good_diversity` of the points in cells/).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METHODS = ("hero", "hero-forward", "hero+")
ENOUGH = 0.9


def changes(study: Path) -> Iterator[tuple[str, float]]:
    """The task and method of each such run, and its last diversity against its first enough."""
    for path in sorted(study.glob("cells/*.json")):
        cell: dict[str, Any] = json.loads(path.read_text())
        if cell["method"] not in METHODS or cell["labeller"] != "judge":
            continue
        scores = [point["fresh"] for point in cell["points"]]
        first = next((score for score in scores[:-1] if score["rate"] >= ENOUGH), None)
        if first is not None:
            ratio = scores[-1]["good_diversity"] / first["good_diversity"]
            yield f"{cell['task']} {cell['method']} {cell['seed']}", ratio


found = list(changes(Path(sys.argv[1])))
for name, ratio in found:
    print(f"{name}: {ratio:.2f}")
print(f"{sum(ratio < 1 for _, ratio in found)} of {len(found)} more alike")
