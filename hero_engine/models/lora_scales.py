"""The alphas of a LoRA that are not among its tensors.

diffusers declares them in the file's metadata, peft in adapter_config.json beside the file, hero in
the run.toml of the run whose checkpoint it is.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Self

from hero_engine.core.errors import HeroError

DIFFUSERS = "lora_adapter_metadata"
"""diffusers' key in a file's metadata."""

PEFT = "adapter_config.json"
RUN = "run.toml"


@dataclass(frozen=True)
class Scales:
    """Alphas of all layers, and of some by name. rslora: the scale is alpha / sqrt(rank)."""

    alpha: float | None = None
    pattern: Mapping[str, float] = field(default_factory=dict)
    rslora: bool = False

    @classmethod
    def declared(cls, path: Path, metadata: Mapping[str, str], part: str) -> Self:
        """Of a file. part: what the pipeline calls the network. ValueError for odd ones.

        HeroError, exit code 2, for an adapter that is no LoRA.
        """
        if DIFFUSERS in metadata:
            config = dict(json.loads(metadata[DIFFUSERS]))
            return cls._of({key.removeprefix(f"{part}."): config[key] for key in config})
        beside = path.parent / PEFT
        if not beside.is_file():
            return cls(_alpha_of_run(path))
        config = dict(json.loads(beside.read_text("utf-8")))
        kind = config.get("peft_type", "LORA")
        if kind != "LORA":
            raise HeroError(f"{path} is a {kind} adapter ({beside.name}); hero trains plain LoRA")
        return cls._of(config)

    @classmethod
    def _of(cls, config: Mapping[str, Any]) -> Self:
        alpha, pattern = config.get("lora_alpha"), config.get("alpha_pattern") or {}
        made = cls(
            None if alpha is None else float(alpha),
            {str(name): float(each) for name, each in pattern.items()},
            bool(config.get("use_rslora")),
        )
        if not all(map(isfinite, (*made.pattern.values(), made.alpha or 0.0))):
            raise ValueError("an alpha is no finite number")
        return made

    def factor(self, layer: str, rank: int) -> float:
        """What a layer's product is multiplied by. A pattern is the end of a name, or a regex."""
        ends = (alpha for end, alpha in self.pattern.items() if _names(end, layer))
        alpha = next(ends, self.alpha)
        if alpha is None:
            return 1.0
        return alpha / (rank**0.5 if self.rslora else rank)


def _alpha_of_run(path: Path) -> float | None:
    """Of a file in a run's folder, or of its checkpoint RUN/checkpoints/r003/lora.safetensors."""
    for folder in (path.parent, *path.parents[2:3]):
        run = folder / RUN
        if run.is_file():
            return float(tomllib.loads(run.read_text("utf-8"))["settings"]["lora"]["alpha"])
    return None


def _names(end: str, layer: str) -> bool:
    """Whether peft's pattern names this layer."""
    if f".{layer}".endswith(f".{end}"):
        return True
    try:
        return re.fullmatch(rf"(.*\.)?({end})", layer) is not None
    except re.error:
        return False
