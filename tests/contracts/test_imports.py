"""What may import what: the engine knows no terminal, and a command pays only for what it uses."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from hero_engine.config.settings import Settings
from hero_engine.config.tasks import Task
from hero_engine.storage.run_folder import RunDir

PROJECT = Path(__file__).parents[2]
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "safetensors"}
TERMINAL = {"textual", "rich", "typer", "click", "term_image", "hero_tui"}


def modules(package: str) -> list[str]:
    """Every module of a package, as paths from the project's root."""
    found = sorted((PROJECT / package).rglob("*.py"))
    assert found
    return [str(path.relative_to(PROJECT)) for path in found]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PROJECT / module).read_text("utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Full names of what a single statement imports."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name their package in full"
        yield from (f"{node.module}.{name.name}" for name in node.names)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: all but functions and `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from at_import(child)


def packages(nodes: Iterator[ast.AST]) -> set[str]:
    """Top-level packages that the nodes import."""
    return {name.split(".")[0] for node in nodes for name in imported(node)}


def test_the_engine_knows_no_terminal() -> None:
    found = {each: packages(ast.walk(tree(each))) & TERMINAL for each in modules("hero_engine")}
    assert not any(found.values()), found


def test_the_app_loads_no_model_library_until_it_is_called() -> None:
    found = {each: packages(at_import(tree(each))) & HEAVY for each in modules("hero_tui")}
    assert not any(found.values()), found


def test_tensors_stay_in_the_engine() -> None:
    """`hero doctor` looks at torch's devices; nothing else of the app ever imports it."""
    found = {each for each in modules("hero_tui") if packages(ast.walk(tree(each))) & HEAVY}
    assert found <= {"hero_tui/commands/doctor.py"}
    assert all(packages(ast.walk(tree(each))) & HEAVY <= {"torch"} for each in found)


def test_every_module_says_what_it_is_for() -> None:
    every = (*modules("hero_engine"), *modules("hero_tui"))
    assert [each for each in every if not ast.get_docstring(tree(each))] == []


def test_nothing_that_is_read_can_run_code() -> None:
    """No pickles, and no code of a model's own: what is read are safetensors, JSON, TOML, SQLite
    and PNG; and by the scripts that train the embedded model NumPy's arrays, without pickles.
    """
    every = (*modules("hero_engine"), *modules("hero_tui"))
    found = {each: set(unsafe_names(each)) for each in every}
    for module, names in found.items():
        allowed = {"np.load"} if "embedded/training_scripts" in module else set[str]()
        assert names <= allowed, module


UNSAFE_PACKAGES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"torch.load", "torch.save", "np.load", "eval", "exec"}
UNSAFE_OPTIONS = {"trust_remote_code", "allow_pickle", "custom_pipeline"}


def unsafe_names(module: str) -> Iterator[str]:
    """Packages, functions and options that may run code of a file."""
    for node in ast.walk(tree(module)):
        yield from UNSAFE_PACKAGES & {name.split(".")[0] for name in imported(node)}
        if isinstance(node, ast.Call):
            yield from UNSAFE_CALLS & {ast.unparse(node.func)}
        elif isinstance(node, ast.keyword):
            yield from UNSAFE_OPTIONS & {str(node.arg)}


def loaded_after(code: str, runs: Path, watched: set[str] = HEAVY) -> set[str]:
    """Which of these modules, by default model libraries, a new process has after some code."""
    script = f"{code}\nimport sys, json\nprint()\nprint(json.dumps(list(sys.modules)))"
    env = {**os.environ, "HERO_RUNS": str(runs), "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return watched & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--help"], 0),
        (["--version"], 0),
        (["run", "--help"], 0),
        (["tasks"], 0),
        (["tasks", "--json"], 0),
        (["status", "--json"], 0),
        (["status", "gone"], 4),
        (["run", "--task", "feet"], 2),
        (["run", "--task", "hands", "--set", "batch=0"], 2),
        (["run", "--task", "hands", "--headless", "--labels", "gone.jsonl"], 2),
    ],
)
def test_a_command_without_a_model_answers_at_once(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    """Torch and diffusers take seconds to import."""
    RunDir.create(tmp_path / "one", Settings(), Task("cup", "a cup"))
    script = f"from hero_tui.cli import run_command\nassert run_command({arguments}) == {code}"
    assert loaded_after(script, tmp_path) == set()


@pytest.mark.parametrize("command", ["--help", "tasks"])
def test_a_short_command_loads_little_besides_typer(tmp_path: Path, command: str) -> None:
    """Each of these takes longer to import than the command takes."""
    script = f"from hero_tui.cli import run_command\nassert run_command([{command!r}]) == 0"
    slow = {"pydantic", "textual", "sqlite3", "hero_engine.config.settings"}
    assert loaded_after(script, tmp_path, slow) == set()


def test_the_app_itself_loads_no_model_library(tmp_path: Path) -> None:
    """The engine's thread does, while the app already answers."""
    assert loaded_after("import hero_tui.launch, hero_tui.app", tmp_path) == set()


def test_the_proof_would_see_a_model_library(tmp_path: Path) -> None:
    assert loaded_after("import safetensors", tmp_path) == {"safetensors"}
