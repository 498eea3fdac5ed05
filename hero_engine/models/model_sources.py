"""Finds a model and its kind without opening it. Imports no torch: mistakes show at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.embedded import judges_dir, weights_dir
from hero_engine.models.component_files import PICKLES, refuse_damaged
from hero_engine.models.known_configurations import is_configuration, known_configuration
from hero_engine.models.pipeline_facts import FACTS, PipelineFacts, facts_of

INDEX = "model_index.json"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""Where the parts of a pipeline come from; the last is diffusers' own safety checker."""

LORA_KEY = re.compile(r"^lora_(unet|te|transformer)|\.lora[._](A|B|down|up)\b|_lora\.(down|up)\.")

NETWORKS = ("transformer", "unet")
"""What a pipeline calls the network that denoises."""

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that no prompt needs; they are not loaded."""

MAY_BE_MISSING = {"text_encoder_3": "tokenizer_3"}
"""Stable Diffusion 3's T5, which its pipeline works without, and its tokenizer."""

AUTO = re.compile("Auto(?!encoder)")
"""Classes that load whatever class a configuration names."""


def find_model(name: str) -> str:
    """What diffusers opens: "embedded"'s folder, a folder, a .safetensors file, or a hub id.

    HeroError, exit code 3, if it can be none of these.
    """
    if is_configuration(name):
        known_configuration(name)
        return name
    path = weights_dir() if name == "embedded" else Path(name).expanduser()
    if path.is_dir():
        path = _snapshot(path)
        if not (path / INDEX).is_file():
            raise _missing(f"{path} holds no diffusers pipeline ({INDEX} is missing)")
        return str(path)
    if name == "embedded":
        raise _missing(f"the embedded model's weights are missing: {path}")
    if path.suffix in (".safetensors", ".gguf"):
        if not path.is_file():
            raise _missing(f"there is no file {path}")
        return str(path)
    if path.suffix in PICKLES and path.is_file():
        raise _missing(f"{path} is a pickle, which can run code: convert it to .safetensors")
    if not HUB_ID.fullmatch(name):
        raise _missing(
            f"model {name!r} is neither 'embedded', a folder, a .safetensors or .gguf file, "
            "nor a hub id (owner/name)"
        )
    return name


def public_name(model: str) -> str:
    """A model's name without the path it has on its owner's disk."""
    return model if HUB_ID.fullmatch(model) or model == "embedded" else Path(model).name


def _snapshot(path: Path) -> Path:
    """A hub cache's folder of a model leads to a snapshot; any other is itself.

    The one of its main branch, or the newest where only other revisions were fetched.
    """
    snapshots = path / "snapshots"
    if (path / INDEX).is_file() or not snapshots.is_dir():
        return path
    reference = path / "refs" / "main"
    if reference.is_file():
        return snapshots / reference.read_text("utf-8").strip()
    return max(snapshots.iterdir(), key=lambda each: each.stat().st_mtime, default=path)


def model_facts(name: str, config: str = "") -> PipelineFacts:
    """What kind of model this is, by its configuration alone.

    HeroError, exit code 3, if that cannot be determined, or it is not a text-to-image pipeline.
    """
    kind = pipeline_class(find_model(name), config)
    if kind not in FACTS and not _draws_from_text(kind):
        known = "; ".join(f"{each.title} ({each_kind})" for each_kind, each in FACTS.items())
        raise _missing(
            f"model {name} is a {kind}, which is no text-to-image pipeline that hero can train; "
            f"it can: {known}"
        )
    return facts_of(kind)


def _draws_from_text(kind: str) -> bool:
    """Whether diffusers has such a pipeline, and it can be driven (`pipeline_driver`)."""
    import inspect

    from hero_engine.models.quiet_libraries import quiet

    with quiet():
        import diffusers

        pipeline = getattr(diffusers, kind, None)
    call: Any = getattr(vars(pipeline).get("__call__"), "__wrapped__", None) if pipeline else None
    if call is None or not all(hasattr(pipeline, each) for each in DRIVEN):
        return False
    if OTHER_TASKS.search(kind):
        return False
    arguments = inspect.signature(call).parameters
    image = arguments.get("image")
    needs_image = image is not None and image.default is inspect.Parameter.empty
    return "prompt" in arguments and "num_images_per_prompt" in arguments and not needs_image


OTHER_TASKS = re.compile("Img2Img|Inpaint|ControlNet|Control|Adapter|Upscale|Edit|Fill|Kontext")
"""Words in the names of pipelines that start from a picture, though their calls do not insist."""

DRIVEN = ("encode_prompt", "prepare_latents")
"""What the driver replaces in a pipeline."""


def model_settings(name: str, config: str = "") -> dict[str, Any]:
    """Settings of this kind of model that differ from the preset; empty if it cannot be read."""
    try:
        return dict(model_facts(name, config).settings)
    except HeroError:
        return {}


def pipeline_class(source: str, config: str = "") -> str:
    """The diffusers class of what `find_model` found, such as "StableDiffusionPipeline".

    config: as in `configuration`. HeroError, exit code 3, if it cannot be determined.
    """
    return str(model_index(source, config)["_class_name"])


def network_name(index: Mapping[str, Any]) -> str:
    """The component that denoises, by a model_index.json. HeroError, exit code 3, without one."""
    kinds = component_kinds(index)
    for name in NETWORKS:
        if name in kinds:
            return name
    raise _missing(f"{index.get('_class_name')} has neither a transformer nor a unet")


def component_kinds(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Library and class of every component that a model_index.json names."""
    return {
        name: (str(value[0]), str(value[1]))
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0]
    }


def missing_encoders(folder: Path, index: Mapping[str, Any]) -> list[str]:
    """The text encoders that a folder lacks and its pipeline can do without; their tokenizers."""
    found = [name for name in MAY_BE_MISSING if name in index and not (folder / name).is_dir()]
    return [each for name in found for each in (name, MAY_BE_MISSING[name])]


def missing_parts(folder: Path, index: Mapping[str, Any]) -> list[str]:
    """Every component that hero opens a folder without, though diffusers asks for it."""
    named = component_kinds(index)
    unused = [name for name in UNUSED if name in named and not (folder / name).is_dir()]
    return [*missing_encoders(folder, index), *unused]


def local_folder(name: str) -> Path | None:
    """Where a model's folder lies; of a hub id its cache, without asking the hub. None: nowhere."""
    from huggingface_hub import try_to_load_from_cache

    source = find_model(name)
    if Path(source).is_dir():
        return Path(source)
    index = try_to_load_from_cache(source, INDEX) if HUB_ID.fullmatch(source) else None
    return Path(index).parent if isinstance(index, str) else None


def model_index(source: str, config: str = "") -> dict[str, Any]:
    """The model_index.json of what `find_model` found; config: as in `configuration`.

    HeroError, exit code 3, if it cannot be read or asks for code of its own.
    """
    if is_configuration(source):
        return known_configuration(source).index()
    found = configuration(source, config)
    guessed = found != source and not config
    hint = f" (for {found}'s configuration; or say --set model_config=FOLDER)" if guessed else ""
    try:
        path = Path(found) / INDEX if Path(found).is_dir() else _fetched(found)
        index = dict(json.loads(path.read_text("utf-8")))
        if "_class_name" not in index:
            raise _missing(f"cannot open model {source}: {INDEX} names no pipeline (_class_name)")
        refuse_code(found, index)
        return index
    except HeroError as error:
        if not guessed:
            raise
        raise _missing(f"cannot open model {source}: {error.message}{hint}") from error
    except ValueError as error:
        raise _missing(f"cannot open model {source}: {INDEX} is damaged") from error
    except Exception as error:  # the hub's library and its HTTP library raise types of their own
        raise _missing(f"cannot open model {source}: {one_line(error)}{hint}") from error


def refuse_code(source: str, index: Mapping[str, Any]) -> None:
    """HeroError, exit code 3, if a model's index asks for code of its own.

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
    if not any(isinstance(each, str | list | dict) for each in named):
        return True  # numbers: a setting
    library, kind = (*named, None, None)[:2]
    return library in LIBRARIES and isinstance(kind, str) and not AUTO.match(kind)


def configuration(source: str, config: str = "") -> str:
    """The folder or hub id that has a model's configuration: itself, unless it is a single file.

    For that it is `config`; else its keys and shapes tell, and the hub has it.
    HeroError, exit code 3, if they do not.
    """
    if not Path(source).is_file():
        return source
    return find_model(config) if config else _guessed(source)


def _fetched(hub_id: str) -> Path:
    """The index of a hub's model: from the hub; where it cannot be reached, from the cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(hub_id, INDEX, local_files_only=_offline(hub_id)))
    except LocalEntryNotFoundError as error:
        raise _missing(
            f"model {hub_id} is not in the cache, and the hub cannot be reached: connect, or give "
            "a folder"
        ) from error


def _offline(hub_id: str) -> bool:
    """Whether the hub cannot be reached; the error depends on its HTTP library."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(hub_id)
    except HfHubHTTPError:
        raise
    except Exception:
        # Which type says that nobody answers depends on the hub's HTTP library and on proxies. The
        # download from the cache then says what is wrong, if anything is.
        return True
    return False


def hub_folder(hub_id: str) -> Path:
    """The local copy of a hub's model, fetched where it can be: weights in safetensors only."""
    from diffusers import DiffusionPipeline

    download: Any = DiffusionPipeline.download
    options = {"use_safetensors": True, "local_files_only": _offline(hub_id)}
    try:
        return Path(download(hub_id, **options))
    except (OSError, ValueError):
        return Path(download(hub_id, variant="fp16", **options))


def _guessed(file: str) -> str:
    """The hub id whose configuration a checkpoint's keys and shapes belong to."""
    from diffusers.loaders.single_file_utils import (
        fetch_diffusers_config,
        load_single_file_checkpoint,
    )

    fetch: Any = fetch_diffusers_config
    refuse_damaged(Path(file))
    try:
        state = load_single_file_checkpoint(file)
        refuse_lora(file, state)
        return str(fetch(state)["pretrained_model_name_or_path"])
    except HeroError:
        raise
    except Exception as error:  # diffusers indexes and compares what a checkpoint should have
        raise _missing(f"cannot read {file}: {one_line(error)}") from error


def refuse_lora(file: str, keys: Iterable[str]) -> None:
    """HeroError, exit code 3, if a file of weights is a LoRA in place of a model."""
    if any(LORA_KEY.search(key) for key in keys):
        raise _missing(
            f"{file} is a LoRA, not a model: give its base model with --model, and the LoRA with "
            "--init-lora"
        )


def _missing(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)


def find_judge(which: str) -> Path:
    """The weights of the judge "labeller" or "evaluator". HeroError, exit code 3, if missing."""
    path = judges_dir() / f"{which}.safetensors"
    if not path.is_file():
        raise _missing(f"the judge's weights are missing: {path}")
    return path
