"""Where a model lies, without opening it. Imports no torch, so that a mistake shows at once."""

from __future__ import annotations

import re
from pathlib import Path

from hero_engine.embedded import judges_dir, weights_dir
from hero_engine.errors import ExitCode, HeroError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def find_model(name: str) -> str:
    """The folder or hub id that diffusers opens: "embedded", a folder, or a hub id (owner/name).

    HeroError, exit code 3, where it can be none of these.
    """
    folder = weights_dir() if name == "embedded" else Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise HeroError(
                f"{folder} holds no diffusers pipeline (model_index.json is missing)",
                exit_code=ExitCode.ENVIRONMENT,
            )
        return str(folder)
    if name == "embedded":
        raise HeroError(
            f"the embedded model's weights are missing: {folder}", exit_code=ExitCode.ENVIRONMENT
        )
    if not HUB_ID.fullmatch(name):
        raise HeroError(
            f"model {name!r} is neither 'embedded', a folder, nor a hub id (owner/name)",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return name


def find_judge(which: str) -> Path:
    """The weights of the judge "labeller" or "evaluator". HeroError, exit code 3, if missing."""
    path = judges_dir() / f"{which}.safetensors"
    if not path.is_file():
        raise HeroError(f"the judge's weights are missing: {path}", exit_code=ExitCode.ENVIRONMENT)
    return path
