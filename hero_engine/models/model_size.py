"""How many weights a model's network has, by the headers of its files. Imports no torch."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from hero_engine.core.errors import HeroError
from hero_engine.models.model_sources import find_model, model_facts, model_index, network_name

LARGEST_HEADER = 100_000_000
"""Bytes; safetensors refuses longer ones."""


def network_parameters(name: str, config: str = "") -> float:
    """Weights of the network; of a hub's model those of its kind. 0 where nothing is known."""
    if name == "embedded":
        return 0
    try:
        source = find_model(name)
        path = Path(source)
        if path.is_dir():
            return _of_files(path / network_name(model_index(source)))
        if path.suffix == ".safetensors" and path.is_file():
            return _of_file(path)
        return model_facts(name, config).parameters
    except (HeroError, OSError, ValueError):
        return 0  # opening the model says what is wrong


def _of_files(folder: Path) -> float:
    """Of the variant with most weights: a folder may hold the same ones in two precisions."""
    variants: dict[str, float] = {}
    for each in folder.glob("*.safetensors"):
        variant = each.name.split("-0")[0].removesuffix(".safetensors")
        variants[variant] = variants.get(variant, 0) + _of_file(each)
    return max(variants.values(), default=0)


def _of_file(path: Path) -> float:
    return float(sum(prod(each["shape"]) for each in _header(path).values() if "shape" in each))


def _header(path: Path) -> dict[str, dict[str, Any]]:
    """Names, types and shapes. ValueError if the file has none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError("no safetensors header")
        return dict(json.loads(file.read(length)))
