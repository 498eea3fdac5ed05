"""Load a pipeline's components from a folder: every weight from its file, or a refusal.

The libraries fill a weight that a file lacks with random numbers and a warning: two starts would
have two models. So an incomplete component is refused, by file and key.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.component_files import (
    WEIGHTS,
    refuse_damaged_files,
    refuse_damaged_json,
    refuse_missing_vocabulary,
    weights_variant,
)
from hero_engine.models.model_sources import UNUSED, component_kinds, missing_encoders
from hero_engine.models.quantisation_libraries import require_for

WITHOUT_VOCABULARY = ("ByT5Tokenizer",)
"""Tokenizers whose tokens are bytes."""

NO_TEXT = re.compile(r"vision|visual|image|decoder|lm_head|position_ids|logit_scale|projection")
"""Weights of a text encoder's file that a pipeline does not use."""

OTHER_SHAPES = "has weights of other shapes than its configuration says"
MISMATCH = re.compile(r"because (\S+) expected shape")
"""diffusers' error for such a weight."""

LISTED_KEYS = 3


@dataclass
class Components:
    """Arguments for a pipeline's `from_pretrained`, and notices."""

    given: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def load_components(
    folder: Path,
    index: Mapping[str, Any],
    dtype: torch.dtype,
    given: Iterable[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Components:
    """All components with weights, on the CPU; the VAE in float32.

    given: components that come from elsewhere. options: arguments of a component's
    `from_pretrained`. HeroError, exit code 3, for one that is not whole.
    """
    made = Components()
    without = missing_encoders(folder, index)
    made.given |= dict.fromkeys(without)
    made.notices += [f"opened without {name} (T5): the folder has none" for name in without[:1]]
    for name, (library, kind) in component_kinds(index).items():
        if name in UNUSED:
            made.given[name] = None
        if name in UNUSED or name in given or name in without:
            continue
        _refuse_damaged(folder, name, kind)
        if _has_weights(library, kind):
            precision = torch.float32 if name == "vae" else dtype
            more = (options or {}).get(name, {})
            made.given[name] = load_component(
                folder / name, library, kind, precision, made.notices, **more
            )
    return made


def _refuse_damaged(folder: Path, name: str, kind: str) -> None:
    """HeroError, exit code 3, for a component whose configuration or vocabulary is not whole."""
    if not (folder / name).is_dir():
        raise _refused(f"{folder} has no {name}/, which its model_index.json names")
    refuse_damaged_json(folder / name)
    if name.startswith("tokenizer") and kind not in WITHOUT_VOCABULARY:
        refuse_missing_vocabulary(folder / name)


def load_missing_encoders(
    folder: Path,
    index: Mapping[str, Any],
    dtype: torch.dtype,
    has: Callable[[Any], bool],
    notices: list[str],
) -> dict[str, nn.Module]:
    """Text encoders that a single file lacks, from the folder of its configuration.

    has: whether the file has one of this class. HeroError, exit code 3, for one that is not whole.
    """
    made: dict[str, nn.Module] = {}
    for name, (library, kind) in component_kinds(index).items():
        if library != "transformers" or name in UNUSED or not _has_weights(library, kind):
            continue
        lies_there = (folder / name).is_dir() and any((folder / name).glob("*.safetensors"))
        if lies_there and not has(getattr(importlib.import_module(library), kind)):
            made[name] = load_component(folder / name, library, kind, dtype, notices)
            notices.append(f"{name} comes from {folder.name}: the file has none")
    return made


def _has_weights(library: str, kind: str) -> bool:
    found = getattr(importlib.import_module(library), kind, None)
    if found is None:
        raise _refused(f"this {library} has no {kind}: a newer version may have it")
    return isinstance(found, type) and issubclass(found, nn.Module)


def load_component(
    folder: Path, library: str, kind: str, dtype: torch.dtype, notices: list[str], **more: Any
) -> nn.Module:
    """One component, whole. HeroError, exit code 3, if it is not."""
    quantised = bool(more) or require_for(folder)
    variant = weights_variant(folder)
    refuse_damaged_files(folder, variant)
    if variant:
        notices.append(f"{folder.name}: weights of variant {variant}, since there are no others")
    if library == "transformers":
        more |= {"dtype": dtype, "ignore_mismatched_sizes": True}  # they are refused below
    else:
        more |= {"torch_dtype": dtype}
    try:
        module, info = getattr(importlib.import_module(library), kind).from_pretrained(
            folder,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **more,
        )
    except HeroError:
        raise
    except Exception as error:
        if match := MISMATCH.search(str(error)):
            raise _refused(f"{_files(folder)} {OTHER_SHAPES}: {match[1]}") from error
        raise _refused(f"{folder}: {one_line(error)}") from error
    if others := [each[0] for each in info["mismatched_keys"]]:
        raise _refused(f"{_files(folder)} {OTHER_SHAPES}: {listed(others)}")
    meta = [key for key, weight in module.named_parameters() if weight.is_meta]
    if lacking := [*info["missing_keys"], *meta]:
        raise _refused(f"{_files(folder)} lacks weights: {listed(lacking)}")
    if unused := _unused(library, info):
        notices.append(f"{folder.name}: its configuration has no place for {listed(unused)}")
    if module.dtype != dtype and dtype == torch.float32 and not quantised:
        module.to(dtype)
    loaded: nn.Module = module
    return loaded


def _unused(library: str, info: Mapping[str, Any]) -> list[str]:
    """Weights that were not loaded; but for the parts of a text encoder's model that read no text
    or only write it."""
    keys = [str(key) for key in info["unexpected_keys"]]
    return [key for key in keys if library != "transformers" or not NO_TEXT.search(key)]


def _files(folder: Path) -> str:
    names = [each.name for each in sorted(folder.iterdir()) if WEIGHTS.fullmatch(each.name)]
    return (
        f"{folder.name}/{names[0]}" if len(names) == 1 else f"{folder.name}/ ({len(names)} files)"
    )


def listed(keys: list[str]) -> str:
    """The first keys, and how many more there are."""
    unique = sorted(set(keys))
    rest = f" and {len(unique) - LISTED_KEYS} more" if len(unique) > LISTED_KEYS else ""
    return ", ".join(unique[:LISTED_KEYS]) + rest


TRIED = "a photo of 1 hand"
"""A tokenizer knows some of it."""


def refuse_unloaded(pipeline: Any, source: str) -> None:
    """HeroError, exit code 3, if a weight of a component was not in its file, or a tokenizer's
    words were not."""
    for name, module in pipeline.components.items():
        if hasattr(module, "convert_tokens_to_ids") and _knows_nothing(module):
            raise _refused(f"{source} has a {name} without words: download {name}/ again")
        if isinstance(module, nn.Module):
            weights = (*module.named_parameters(), *module.named_buffers())
            lacking = [key for key, weight in weights if weight.is_meta]
            if lacking:
                raise _refused(f"{source} lacks weights of its {name}: {listed(lacking)}")


def refuse_nan(name: str, component: Any) -> None:
    """HeroError, exit code 3, if a weight of a component has NaN or infinity."""
    weights = component.named_parameters() if isinstance(component, nn.Module) else ()
    for key, weight in weights:
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            weight_name = key.replace(".base_layer.", ".")
            raise _refused(f"{name} has NaN or infinity in {weight_name}: its file is damaged")


def _knows_nothing(tokenizer: Any) -> bool:
    return set(tokenizer(TRIED)["input_ids"]) <= set(tokenizer.all_special_ids)


def _refused(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)
