"""A checkpoint in one file: what it says of itself, and how it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hero_engine.core.errors import ExitCode, HeroError, one_line

FP8_SCALES = ("scaled_fp8", ".scale_weight", ".weight_scale")
"""Ends of keys in files whose fp8 weights are to be multiplied by a scale."""

VAE_KEYS = ("first_stage_model.", "vae.")
SUFFIXES = (".safetensors", ".gguf")


@dataclass(frozen=True)
class SingleFile:
    """What a file's header says. keys: of its tensors; metadata: modelspec and the like."""

    path: Path
    keys: frozenset[str]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> SingleFile:
        """HeroError, exit code 3, where it is no such file, or one that cannot be opened."""
        if path.suffix == ".gguf":
            return cls(path, frozenset())
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                made = cls(path, frozenset(file.keys()), file.metadata() or {})
        except (OSError, SafetensorError, ValueError) as error:
            raise _refused(f"cannot read {path}: {one_line(error)}") from error
        if any(key.endswith(FP8_SCALES) for key in made.keys):
            raise _refused(
                f"{path} holds scaled fp8 weights, which diffusers does not scale back; "
                "use the file in bf16 or fp16"
            )
        return made

    @property
    def network_only(self) -> bool:
        """True for a network beside a base folder, as ComfyUI's users keep them."""
        return not any(key.startswith(VAE_KEYS) for key in self.keys)

    def scheduler_changes(self) -> dict[str, Any]:
        """What its markers say of the noise process, for the scheduler's configuration."""
        predicts = self.metadata.get("modelspec.prediction_type", "").lower()
        changes: dict[str, Any] = {}
        if "v_pred" in self.keys or predicts in ("v", "v_prediction", "v-prediction"):
            changes["prediction_type"] = "v_prediction"
        elif predicts in ("epsilon", "eps"):
            changes["prediction_type"] = "epsilon"
        if "ztsnr" in self.keys:
            changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return changes

    def told(self) -> Iterator[str]:
        """The same in words."""
        changes = self.scheduler_changes()
        if changes.get("prediction_type") == "v_prediction":
            yield f"the model predicts v ({self.path.name} says so)"
        if "rescale_betas_zero_snr" in changes:
            yield f"its noise schedule ends in pure noise, zero SNR ({self.path.name} says so)"


def open_single_file(
    file: SingleFile, pipeline_class: str, config: str, dtype: torch.dtype, **given: Any
) -> Any:
    """The pipeline of a whole checkpoint, on the CPU; the VAE in float32.

    config: a local folder with the configuration. given: components from elsewhere. What the file
    says of its noise process goes into the scheduler.
    """
    import diffusers

    kind: Any = getattr(diffusers, pipeline_class)
    pipeline = kind.from_single_file(
        str(file.path), torch_dtype=dtype, config=config or None, **given
    )
    changes = file.scheduler_changes()
    if changes:
        scheduler = pipeline.scheduler
        pipeline.scheduler = type(scheduler).from_config(scheduler.config, **changes)
    return pipeline


def open_network(
    file: SingleFile, network_class: str, component: str, config: str, dtype: torch.dtype
) -> Any:
    """The network of a file that has nothing else; config: the base folder. Also GGUF."""
    import diffusers

    more: dict[str, Any] = {}
    if file.path.suffix == ".gguf":
        more["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    return getattr(diffusers, network_class).from_single_file(
        str(file.path), config=config, subfolder=component, torch_dtype=dtype, **more
    )


def _refused(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)
