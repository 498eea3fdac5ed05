"""Where a model lies, without opening it. Imports no torch, so that a mistake shows at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hero_engine.embedded import judges_dir, weights_dir
from hero_engine.errors import ExitCode, HeroError, one_line

INDEX = "model_index.json"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""Where the parts of a pipeline come from; the last is diffusers' own safety checker."""

AUTO = re.compile("Auto(?!encoder)")
"""Classes that load whatever class a configuration names."""


def find_model(name: str) -> str:
    """What diffusers opens: "embedded"'s folder, a folder, a .safetensors file, or a hub id.

    HeroError, exit code 3, where it can be none of these.
    """
    path = weights_dir() if name == "embedded" else Path(name).expanduser()
    if path.is_dir():
        if not (path / INDEX).is_file():
            raise _missing(f"{path} holds no diffusers pipeline ({INDEX} is missing)")
        return str(path)
    if name == "embedded":
        raise _missing(f"the embedded model's weights are missing: {path}")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise _missing(f"there is no file {path}")
        return str(path)
    if not HUB_ID.fullmatch(name):
        raise _missing(
            f"model {name!r} is neither 'embedded', a folder, a .safetensors file, "
            "nor a hub id (owner/name)"
        )
    return name


def pipeline_class(source: str, config: str = "") -> str:
    """The diffusers class of what `find_model` found, such as "StableDiffusionPipeline".

    config: for a single file, the folder or hub id whose configuration it has; else its keys tell,
    and diffusers fetches the configuration. HeroError, exit code 3, where nothing can be told.
    """
    if Path(source).is_file():
        source = find_model(config) if config else _configuration(source)
    try:
        path = Path(source) / INDEX if Path(source).is_dir() else _fetched(source)
        index = dict(json.loads(path.read_text("utf-8")))
        refuse_code(source, index)
        return str(index["_class_name"])
    except HeroError:
        raise
    except Exception as error:
        raise _missing(f"cannot open model {source}: {one_line(error)}") from error


def refuse_code(source: str, index: Mapping[str, Any]) -> None:
    """HeroError, exit code 3, where a model's index asks for code of its own.

    diffusers imports whatever module the index names for a part, from wherever Python finds it.
    """
    for part, named in index.items():
        if not _is_plain(part, named):
            raise _missing(
                f"model {source} wants code of its own for {part!r} ({named!r}), which hero does"
                " not run"
            )


def _is_plain(part: str, named: object) -> bool:
    """Whether a line of a model's index names only what the libraries have."""
    if part == "_class_name":
        return isinstance(named, str)
    if part.startswith("_") or not isinstance(named, list) or named == [None, None]:
        return True
    library, kind = (*named, None, None)[:2]
    return library in LIBRARIES and isinstance(kind, str) and not AUTO.match(kind)


def _fetched(hub_id: str) -> Path:
    """From the hub; where it cannot be reached, at once from the cache."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(hub_id)
        offline = False
    except HfHubHTTPError:
        raise
    except Exception:
        offline = True
    return Path(hf_hub_download(hub_id, INDEX, local_files_only=offline))


def _configuration(file: str) -> str:
    """The hub id whose configuration a checkpoint's keys and shapes belong to."""
    from diffusers.loaders.single_file_utils import (
        fetch_diffusers_config,
        load_single_file_checkpoint,
    )

    fetch: Any = fetch_diffusers_config
    try:
        return str(fetch(load_single_file_checkpoint(file))["pretrained_model_name_or_path"])
    except Exception as error:
        raise _missing(f"cannot read {file}: {one_line(error)}") from error


def _missing(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)


def find_judge(which: str) -> Path:
    """The weights of the judge "labeller" or "evaluator". HeroError, exit code 3, if missing."""
    path = judges_dir() / f"{which}.safetensors"
    if not path.is_file():
        raise _missing(f"the judge's weights are missing: {path}")
    return path
