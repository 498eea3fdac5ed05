"""Named settings to start from. Every number that was found by experiment stands here."""

from collections.abc import Callable
from typing import Any

from hero_engine.config.settings import (
    DdpoSettings,
    EmbeddingSettings,
    ForwardSettings,
    LoraSettings,
    NoiseSettings,
    SamplerSettings,
    Settings,
    with_changes,
)


def paper(**changes: Any) -> Settings:
    """The official code's settings, for Stable Diffusion 1.5."""
    return Settings(**({"preset": "paper"} | changes))


def embedded(**changes: Any) -> Settings:
    """What makes the embedded model learn, by experiment: see docs/learning.md."""
    targets = ("to_q", "to_k", "to_v", "to_out.0", "conv")
    tuned: dict[str, Any] = {
        "preset": "embedded",
        "model": "embedded",
        "update": "forward",
        "microbatch": 16,
        "fixed_noise_samples": 4,
        "sampler": SamplerSettings(steps=20, eta=0.5, guidance=1.0),
        "lora": LoraSettings(rank=16, alpha=16, targets=targets),
        "embedding": EmbeddingSettings(
            features=256, head=(256, 128), learning_rate=1e-3, epochs=150
        ),
        "noise": NoiseSettings(fresh_ratio=0.25),
        "forward": ForwardSettings(
            loss="x0_normalised", old_policy="round", history="round", beta=1.0, steps=40
        ),
    }
    if changes.get("update") in ("ddpo", "d3po"):
        # They learn from what the sampler's noise decides. The policy gradient's signal lies in the
        # steps and layers that decide the composition.
        tuned |= {
            "sampler": SamplerSettings(steps=20, eta=1.0, guidance=1.0),
            "lora": LoraSettings(rank=16, alpha=16, targets=targets, block="mid_block"),
            "noise": NoiseSettings(fresh_ratio=0.5),
            "ddpo": DdpoSettings(
                steps_per_image=10, window=(0.0, 0.5), learning_rate=1e-2, microbatch=8
            ),
        }
    return Settings(**(tuned | changes))


PLUS: dict[str, Any] = {
    "update": "forward",
    "forward": {"loss": "x0_normalised", "scale_steps_by_variance": True, "kl_weight": 1.0},
    "embedding": {"kind": "backbone", "history": "all"},
    "reward": {"kind": "probability"},
    "self_training": {"rounds": 3},
}
"""What preset "hero+" does beyond the paper, by experiment: see docs/results.md."""


def plus(**changes: Any) -> Settings:
    """`hero+`: fewer labels for the same success, for more of the machine's time."""
    preset = embedded if changes.get("model") == "embedded" else paper
    return with_changes(preset(**(changes | {"preset": "hero+", "update": "forward"})), PLUS)


PRESETS: dict[str, Callable[..., Settings]] = {"paper": paper, "embedded": embedded, "hero+": plus}
"""Each makes Settings from keyword changes: PRESETS["paper"](task="hands", prompt="1 hand")."""
