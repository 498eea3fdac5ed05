"""Presets: named settings to start from. Every value found by experiment is here."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any

from hero_engine.config.layers import Layer, merged
from hero_engine.config.settings import Settings, with_changes
from hero_engine.config.validation import known_instead, merge
from hero_engine.core.errors import HeroError

PAPER: dict[str, Any] = {}
"""The official code's settings, for Stable Diffusion 1.5: the defaults."""

PAPER_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"

EMBEDDED: dict[str, Any] = {
    "update": "forward",
    "microbatch": 16,
    "fixed_noise_samples": 4,
    "sampler": {"steps": 20, "eta": 0.5, "guidance": 1.0},
    "lora": {"rank": 16, "alpha": 16, "targets": ("to_q", "to_k", "to_v", "to_out.0", "conv")},
    "embedding": {"features": 256, "head": (256, 128), "learning_rate": 1e-3, "epochs": 150},
    "noise": {"fresh_ratio": 0.25},
    "forward": {
        "loss": "x0_normalised",
        "old_policy": "round",
        "history": "round",
        "beta": 1.0,
        "steps": 40,
    },
}
"""What makes the embedded model learn, by experiment: see docs/learning.md."""

EMBEDDED_ON_TRAJECTORIES: dict[str, Any] = {
    "sampler": {"eta": 1.0},
    "lora": {"block": "mid_block"},
    "noise": {"fresh_ratio": 0.5},
    "ddpo": {"steps_per_image": 10, "window": (0.0, 0.5), "learning_rate": 1e-2, "microbatch": 8},
}
"""Over EMBEDDED for ddpo and d3po. They learn from what the sampler's noise decides, and the signal
lies in the steps and layers that decide the composition."""

PLUS: dict[str, Any] = {
    "update": "forward",
    "forward": {"loss": "x0_normalised", "scale_steps_by_variance": True, "kl_weight": 1.0},
    "embedding": {"kind": "backbone", "history": "all"},
    "reward": {"kind": "probability"},
    "self_training": {"rounds": 3},
}
"""What preset "hero+" does beyond the paper, by experiment: see docs/results.md."""

LARGE: dict[str, Any] = {
    "update": "forward",
    "batch": 16,
    "microbatch": 4,
    "sampler": {"height": 768, "width": 768},
    "forward": {
        "loss": "x0_normalised",
        "steps": 10,
        "good_images_per_update": 4,
        "bad_images_per_update": 4,
        "kl_weight": 1.0,
        "learning_rate": 3e-4,
    },
}
"""For networks of `LARGE_FROM` weights or more, so that a round takes minutes: few pictures and
optimizer steps, no guidance in training, a pull to the base. Chosen by arithmetic (docs/memory.md),
not by experiment."""

LARGEST: dict[str, Any] = {"batch": 8, "microbatch": 2, "sampler": {"height": 512, "width": 512}}
"""Over LARGE, from `LARGEST_FROM` weights."""

LARGE_FROM, LARGEST_FROM = 1.5e9, 5e9
"""Weights of a network. Stable Diffusion 1.5 has 0.86e9, SDXL 2.6e9, Z-Image 6.2e9."""

JOINT: dict[str, Any] = {
    "update": "forward",
    "noise": {"fresh_ratio": 1.0},
    "forward": {
        "loss": "x0_normalised",
        "old_policy": "round",
        "history": "all",
        "beta": 0.6,
        "bad_weight": 0.3,
        "steps": 60,
        "learning_rate": 2e-3,
        "betas": (0.9, 0.99),
        "decay_learning_rate": True,
        "weight_average": 0.95,
    },
    "embedding": {"kind": "backbone", "history": "all"},
    "reward": {"kind": "probability"},
    "self_training": {"kind": "joint", "images": 128, "base_images": 384},
}
"""What preset "joint" does beyond the paper, by experiment: see docs/variety.md."""

EXTENSIONS = {"hero+": PLUS, "joint": JOINT}
"""What presets that are not in the paper set over the ones of their model."""

NAMES = ("paper", "embedded", *EXTENSIONS, "large")


def preset_for(model: str, parameters: float = 0) -> str:
    """The default preset of a model.

    parameters: weights of its network; 0: unknown.
    """
    if model == "embedded":
        return "embedded"
    return "large" if parameters >= LARGE_FROM else "paper"


def builds_on_paper(preset: str, model: str) -> bool:
    """Whether the preset starts from the paper's settings, and not from the embedded model's."""
    return preset in ("paper", "large") or (preset in EXTENSIONS and model != "embedded")


def preset_layers(
    preset: str,
    *,
    model: str,
    update: object = None,
    kind: Mapping[str, Any] | None = None,
    parameters: float = 0,
) -> list[Layer]:
    """What a preset sets over the defaults, the strongest layer last.

    update: the one that was chosen, if any. kind: what the kind of model sets over the paper's
    settings, which are Stable Diffusion's. parameters: weights of the network; 0: unknown.
    HeroError for an unknown preset.
    """
    if preset not in NAMES:
        raise HeroError(f"no preset is called {preset!r}; {known_instead(preset, NAMES)}")
    if preset == "large" and model == "embedded":
        raise HeroError("preset 'large' is for models of 1.5 billion weights or more")
    if builds_on_paper(preset, model):
        values = PAPER
    else:
        on_trajectories = preset == "embedded" and update in ("ddpo", "d3po")
        values, kind = merge(EMBEDDED, EMBEDDED_ON_TRAJECTORIES if on_trajectories else {}), None
    layers = [
        Layer(f"preset {preset}", merge(values, EXTENSIONS.get(preset, {}))),
        Layer("the kind of model", kind or {}),
    ]
    if preset == "large":
        size = merge(LARGE, LARGEST if parameters >= LARGEST_FROM else {})
        billions = f"{parameters / 1e9:.1f} billion weights"
        layers.append(Layer(f"preset {preset}, by the model's {billions}", size))
    return layers


def from_preset(preset: str, *, model: str = "", **changes: Any) -> Settings:
    """A preset's settings with some changed: from_preset("paper", batch=8).

    model: the preset's own if empty. A section is a table or a settings object.
    """
    model = model or ("embedded" if preset == "embedded" else PAPER_MODEL)
    tables = {name: asdict(x) if is_dataclass(x) else x for name, x in changes.items()}  # type: ignore[arg-type]
    values = merged(preset_layers(preset, model=model, update=changes.get("update")))
    return with_changes(Settings(preset=preset, model=model), merge(values, tables))


paper = partial(from_preset, "paper")
embedded = partial(from_preset, "embedded")
