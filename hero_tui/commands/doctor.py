"""`hero doctor`: what this terminal, this machine and this installation can do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from hero_engine import __version__
from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.embedded import weights_dir
from hero_engine.models.model_sources import find_judge, find_model
from hero_engine.storage.run_folder import runs_root
from hero_tui.graphics.detect_terminal import Terminal, colour_hint, colours
from hero_tui.graphics.tmux import Tmux
from hero_tui.output_streams import data_json, say
from hero_tui.preferences.settings_sources import use_runs_folder
from hero_tui.terminal.ask_terminal import COMMAND_DEADLINE, ask

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "textual",
    "Pillow",
    "term-image",
)
OPTIONAL = {"term-image": "not installed; only `hero show` in kitty before 0.28 uses it"}
"""Optional packages, and what is missing without them."""


def doctor(as_json: bool) -> None:
    """Print the findings. HeroError, exit code 3, if hero cannot work here."""
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
    """All findings as JSON values; `problems` are sentences."""
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
            found[name] = OPTIONAL.get(name, "missing")
            if name not in OPTIONAL:
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
    """The terminal's answers about itself, if there is a terminal."""
    size = shutil.get_terminal_size()
    found: dict[str, Any] = {
        "TERM": os.environ.get("TERM", ""),
        "size": f"{size.columns} x {size.lines} cells",
    }
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return found | {"pictures": "no terminal on stdin and stdout: only --headless works here"}
    asked = ask(1, 0, os.environ, deadline=COMMAND_DEADLINE)
    return found | pictures_of(asked.answers.terminal, asked.answers.tmux, os.environ)


def pictures_of(
    terminal: Terminal, tmux: Tmux | None, environ: Mapping[str, str]
) -> dict[str, Any]:
    """How pictures are drawn here, why, and what would improve them."""
    number = 2**24 if terminal.true_colour else colours(environ)
    found: dict[str, Any] = {
        "name": terminal.name or "unknown",
        "cell": f"{terminal.cell[0]} x {terminal.cell[1]} pixels",
        "colours": {2**24: "16.7 million", 1: "none"}.get(number, str(number)),
        "tmux": tmux_abilities(tmux) if tmux else False,
        "pictures": terminal.best,
    }
    if terminal.best == "sixel" and terminal.sixel_limit:
        width, height = terminal.sixel_limit
        found["largest picture"] = f"{width} x {height} pixels"
    if not terminal.answered:
        found["answers"] = f"none within {COMMAND_DEADLINE:.0f} s; hero keeps listening"
    hint = terminal.hint or colour_hint(terminal, environ)
    return found | ({"hint": hint} if hint else {})


def tmux_abilities(tmux: Tmux) -> str:
    """How this tmux handles pictures."""
    if tmux.drops_sixel:
        sixel = f"it keeps only {tmux.SIXEL_IMAGES} sixel pictures, so a page would lose some"
    elif tmux.sends_sixel:
        sixel = "it shows sixel pictures, and hero sends them again after another window"
    else:
        sixel = "it shows no sixel pictures (3.4 and later do, where built with --enable-sixel)"
    through = "on" if tmux.passthrough else "off"
    return f"{tmux.version or 'of an unknown version'}: {sixel}; allow-passthrough is {through}"


def runs(problems: list[str]) -> str:
    """The folder of runs, and whether it can be written."""
    use_runs_folder()
    root = runs_root()
    there = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(there, os.W_OK):
        problems.append(f"runs cannot be written to {root}: set HERO_RUNS to another folder")
    return str(root)
