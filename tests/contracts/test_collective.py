"""Learning code uses collectives, and knows no process."""

import ast
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PACKAGES = ("core", "policy", "reward", "updates")
PROCESSES = ("hero_engine.distributed", "torch.distributed", "multiprocessing", "accelerate")


def modules() -> list[Path]:
    found = [
        path
        for package in PACKAGES
        for path in sorted((PROJECT / "hero_engine" / package).glob("*.py"))
    ]
    assert len(found) > 20
    return found


def imported(source: str) -> list[str]:
    """Full names of all imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{name.name}" for name in node.names]
    return names


def test_learning_knows_no_process() -> None:
    assert [
        f"{path.stem}: {name}"
        for path in modules()
        for name in imported(path.read_text("utf-8"))
        if name.startswith(PROCESSES)
    ] == []


def test_a_process_would_be_seen() -> None:
    assert imported("from torch import distributed")[0].startswith(PROCESSES)
    assert imported("def f():\n    import hero_engine.distributed.launcher")[0].startswith(
        PROCESSES
    )
