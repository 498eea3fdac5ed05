"""The published configurations that ship with hero, without weights: `config:sd15` and others.

One JSON file a model: its pipeline's class, the side of its pictures in pixels, and its components
as (library, class, configuration). Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hero_engine.core.errors import ExitCode, HeroError

FOLDER = Path(__file__).parent / "configurations"
PREFIX = "config:"


@dataclass(frozen=True)
class KnownConfiguration:
    """A model's configuration. more: further arguments of its pipeline."""

    title: str
    pipeline: str
    size: int
    components: Mapping[str, tuple[str, str, Mapping[str, Any]]]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """The component that denoises."""
        return next(name for name in ("transformer", "unet") if name in self.components)

    @property
    def encoders(self) -> tuple[str, ...]:
        """The text encoders."""
        return tuple(name for name in self.components if name.startswith("text_encoder"))

    def index(self) -> dict[str, Any]:
        """What the model's model_index.json would say."""
        parts = {name: [library, kind] for name, (library, kind, _) in self.components.items()}
        return {"_class_name": self.pipeline} | parts


def is_configuration(model: str) -> bool:
    """Whether a model's name is that of a configuration, whose weights are random."""
    return model.startswith(PREFIX)


def configuration_names() -> list[str]:
    """All that ship: "config:sd15"."""
    return sorted(f"{PREFIX}{path.stem}" for path in FOLDER.glob("*.json"))


def known_configuration(model: str) -> KnownConfiguration:
    """The configuration of "config:NAME". HeroError, exit code 3, if there is none."""
    if model not in configuration_names():
        raise HeroError(
            f"no configuration {model}; there are {', '.join(configuration_names())}",
            exit_code=ExitCode.ENVIRONMENT,
        )
    path = FOLDER / f"{model.removeprefix(PREFIX)}.json"
    return KnownConfiguration(**json.loads(path.read_text("utf-8")))
