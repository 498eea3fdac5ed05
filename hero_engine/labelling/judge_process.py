"""Calls a person's Python function as a judge: JSON lines in, JSON lines out.

    python -m hero_engine.labelling.judge_process MODULE:FUNCTION

The function is looked for in the current folder too. What it prints goes to stderr, so that
it is not read as an answer.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

LABELS = {"good": "good", "bad": "bad", True: "good", False: "bad", None: None}


def answers(verdicts: Iterable[Any], count: int) -> Iterator[str]:
    """A line for each verdict: a number is a score; bool, "good", "bad" and None are labels.

    ValueError for anything else, and where there are not `count` of them.
    """
    given = list(verdicts)
    if len(given) != count:
        raise ValueError(f"the function returned {len(given)} verdicts for {count} pictures")
    for image, verdict in enumerate(given):
        if verdict is None or isinstance(verdict, bool | str) or type(verdict).__name__ == "bool_":
            label = verdict if isinstance(verdict, str | None) else bool(verdict)
            if label not in LABELS:
                raise ValueError(f"the function returned {label!r}; labels are 'good' and 'bad'")
            yield json.dumps({"image": image, "label": LABELS[label]})
        else:  # numbers of numpy and torch too
            yield json.dumps({"image": image, "score": float(verdict)})


def function_named(name: str) -> Callable[[list[str], list[str]], Iterable[Any]]:
    """The function "MODULE:FUNCTION"."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found  # type: ignore[return-value]


def main() -> None:
    """Judge the pictures of standard input."""
    asked = [json.loads(line) for line in sys.stdin if line.strip()]
    with redirect_stdout(sys.stderr):
        judge = function_named(sys.argv[1])
        verdicts = judge([each["path"] for each in asked], [each["prompt"] for each in asked])
        lines = list(answers(verdicts, len(asked)))
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # any error of a person's function becomes one line
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        sys.exit(1)
