"""`hero doctor`: what this terminal, this machine and this installation can do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from typing import Any

from hero_engine import __version__
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.embedded import weights_dir
from hero_engine.models.model_sources import find_judge, find_model
from hero_engine.storage.run_folder import runs_root
from hero_tui.output_streams import data_json, say
from hero_tui.preferences.settings_sources import use_runs_folder

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "textual",
    "term-image",
    "chafa.py",
    "Pillow",
)


def doctor(as_json: bool) -> None:
    """Print the findings. HeroError, exit code 3, where hero cannot work here."""
    facts = findings()
    if as_json:
        data_json(facts)
    else:
        for name, value in facts.items():
            for line in lines(name, value):
                say(line)
    if facts["problems"]:
        raise HeroError(facts["problems"][0], exit_code=ExitCode.ENVIRONMENT)


def lines(name: str, value: Any) -> list[str]:
    """A finding as text, its parts indented."""
    if isinstance(value, dict):
        return [f"{name}:", *(f"  {key}: {each}" for key, each in value.items())]
    if isinstance(value, list):
        return [f"{name}: {'none' if not value else ''}".rstrip(), *(f"  {each}" for each in value)]
    return [f"{name}: {value}"]


def findings() -> dict[str, Any]:
    """All that is found, as JSON values; `problems` are sentences."""
    problems: list[str] = []
    return {
        "hero": __version__,
        "python": platform.python_version(),
        "packages": packages(problems),
        "embedded model": embedded(problems),
        "device": device(problems),
        "terminal": terminal(),
        "runs": runs(problems),
        "problems": problems,
    }


def packages(problems: list[str]) -> dict[str, str]:
    """Versions; a missing one is a problem."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
            problems.append(f"the package {name} is missing: pip install {name}")
    return found


def embedded(problems: list[str]) -> dict[str, str]:
    """Whether the shipped weights are there."""
    found = {"folder": str(weights_dir())}
    for name, find in (
        ("model", lambda: find_model("embedded")),
        ("labelling judge", lambda: find_judge("labeller")),
        ("scoring judge", lambda: find_judge("evaluator")),
    ):
        try:
            find()
            found[name] = "ready"
        except HeroError as error:
            found[name] = "missing"
            problems.append(error.message)
    return found


def device(problems: list[str]) -> dict[str, Any]:
    """Where the model would run, and in which precision."""
    try:
        import torch
    except ImportError as error:
        problems.append(f"torch cannot be imported: {error}")
        return {"use": "none"}
    if not torch.cuda.is_available():
        return {"use": "cpu", "precision": "fp32", "threads": torch.get_num_threads()}
    name, memory = torch.cuda.get_device_name(0), torch.cuda.mem_get_info(0)[1]
    precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return {"use": f"cuda ({name})", "precision": precision, "memory": f"{memory / 2**30:.0f} GiB"}


def terminal() -> dict[str, Any]:
    """What the terminal said of itself; asked only where there is one."""
    size = shutil.get_terminal_size()
    found: dict[str, Any] = {
        "TERM": os.environ.get("TERM", ""),
        "size": f"{size.columns} x {size.lines} cells",
    }
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return found | {"pictures": "no terminal on stdin and stdout: only --headless works here"}
    from hero_tui.terminal.ask_terminal import COMMAND_DEADLINE, ask

    said = ask(1, 0, os.environ, deadline=COMMAND_DEADLINE).answers.terminal
    found |= {"name": said.name, "cell": f"{said.cell[0]} x {said.cell[1]} pixels"}
    hint = {"hint": said.hint} if said.hint else {}
    return found | {"tmux": said.tmux, "pictures": said.best} | hint


def runs(problems: list[str]) -> str:
    """Where runs go, if they can."""
    use_runs_folder()
    root = runs_root()
    there = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(there, os.W_OK):
        problems.append(f"runs cannot be written to {root}: set HERO_RUNS to another folder")
    return str(root)
