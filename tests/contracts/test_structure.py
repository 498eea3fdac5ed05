"""Each package imports only packages of lower layers, and module names are unique."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

ENGINE_LAYERS = (
    "core",
    "config",
    "storage",
    "embedded",
    "models",
    "distributed",
    "policy",
    "reward",
    "updates",
    "labelling",
    "training",
    "runtime",
    "evaluation",
    "study",
    "embedded.training_scripts",
)
"""The lowest layer first. A package may import itself and those before it."""

APP_LAYERS = (
    "output_streams",
    "theme",
    "keyboard",
    "preferences",
    "graphics",
    "session",
    "terminal",
    "widgets",
    "screens",
    "base_app",
    "global_actions",
    "app",
    "home_app",
    "launch",
    "commands",
    "cli",
)


def files(package: str) -> list[Path]:
    """Every Python file of a package."""
    found = sorted((PROJECT / package).rglob("*.py"))
    assert found
    return found


def layer_of(module: str, layers: tuple[str, ...]) -> str:
    """The layer of a module: the longest that its dotted name begins with; "" for none."""
    inner = module.partition(".")[2]
    found = [each for each in layers if inner == each or inner.startswith(f"{each}.")]
    return max(found, key=len, default="")


def module_name(path: Path) -> str:
    """`hero_engine/core/errors.py` -> `hero_engine.core.errors`."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(source: str) -> list[tuple[str, list[str]]]:
    """Every import of a source: the module, and the names taken from it."""
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, [name.name for name in node.names]))
        elif isinstance(node, ast.Import):
            found.extend((name.name, []) for name in node.names)
    return found


def upward(package: str, layers: tuple[str, ...], module: str, source: str) -> list[str]:
    """The imports of a module that lead to a layer above its own."""
    own = layer_of(module, layers)
    if not own:
        return []
    found = []
    for target, names in imports(source):
        if target.split(".")[0] != package:
            continue
        for full in (target, *(f"{target}.{name}" for name in names)):
            there = layer_of(full, layers)
            if there and layers.index(there) > layers.index(own):
                found.append(f"{module} imports {full}")
                break
    return found


@pytest.mark.parametrize(
    ("package", "layers"), [("hero_engine", ENGINE_LAYERS), ("hero_tui", APP_LAYERS)]
)
def test_a_package_imports_downwards(package: str, layers: tuple[str, ...]) -> None:
    assert [
        found
        for path in files(package)
        for found in upward(package, layers, module_name(path), path.read_text("utf-8"))
    ] == []


def test_an_upward_import_would_be_seen() -> None:
    source = "from hero_engine.training import loop\n"
    assert upward("hero_engine", ENGINE_LAYERS, "hero_engine.core.labels", source)
    assert not upward("hero_engine", ENGINE_LAYERS, "hero_engine.study.trial", source)


def test_every_engine_module_has_a_layer() -> None:
    modules = {module_name(path) for path in files("hero_engine")} - {"hero_engine"}
    assert not [module for module in modules if not layer_of(module, ENGINE_LAYERS)]


def test_no_module_name_occurs_twice() -> None:
    names = Counter(
        path.stem
        for package in ("hero_engine", "hero_tui")
        for path in files(package)
        if path.stem != "__init__"
    )
    assert not [name for name, count in names.items() if count > 1]


def test_nothing_private_is_imported() -> None:
    assert [
        f"{module_name(path)}: {target}.{name}"
        for path in (*files("hero_engine"), *files("hero_tui"))
        for target, names in imports(path.read_text("utf-8"))
        if target.startswith(("hero_engine", "hero_tui"))
        for name in names
        if name.startswith("_") and not name.startswith("__")
    ] == []


THREADS = {
    "hero_engine/runtime/engine_thread.py": "the engine",
    "hero_tui/graphics/picture_encoder.py": "encodes pictures for the terminal",
    "hero_tui/app.py": "stops the engine while the app closes",
    "hero_tui/session/suggestions.py": "waits for a judge's program",
    "hero_tui/graphics/tmux.py": "awaits a command of tmux",
    "hero_tui/terminal/signals.py": "ends a process that cannot leave its terminal",
    "hero_tui/commands/headless.py": "--max-seconds",
    "hero_tui/commands/bench/fake_engine_app.py": "stands in for the engine",
}
"""The files that start threads, and what the threads are for. Two live as long as a session: the
engine and the encoder. Only the engine's may use torch.
"""

STARTERS = {"threading.Thread", "threading.Timer", "ThreadPoolExecutor", "asyncio.to_thread"}


def starts_threads(source: str) -> bool:
    """Whether a source names anything that starts a thread, written as this project writes it."""
    if not any(name.rpartition(".")[2] in source for name in STARTERS):
        return False
    names = (
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute | ast.Name)
    )
    return not STARTERS.isdisjoint(names)


def test_threads_start_in_few_files() -> None:
    found = {
        str(path.relative_to(PROJECT))
        for package in ("hero_engine", "hero_tui")
        for path in files(package)
        if starts_threads(path.read_text("utf-8"))
    }
    assert found <= THREADS.keys()


def test_a_thread_would_be_seen() -> None:
    assert starts_threads("import threading\nthreading.Thread(target=print).start()\n")
    assert not starts_threads("import threading\nthreading.Lock()\n")
