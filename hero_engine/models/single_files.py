"""A checkpoint in one file: what it says of itself, and how it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.component_files import refuse_damaged
from hero_engine.models.model_sources import refuse_lora
from hero_engine.models.pipeline_components import MISMATCH, OTHER_SHAPES, listed
from hero_engine.models.quantisation_libraries import require

FP8_SCALES = (".scale_weight", ".weight_scale")
"""Ends of keys with the numbers that fp8 weights are to be multiplied by."""

FP8_MARKS = ("scaled_fp8", ".scale_input", ".input_scale", ".comfy_quant")
"""Ends of further keys of such files: marks, and scales of activations, which hero keeps exact."""

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)

EDM_KEYS = ("edm_mean", "edm_std", "edm_vpred.sigma_max")
"""Markers of Playground 2.5 and CosXL: a noise process that is not the configuration's."""

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
        """HeroError, exit code 3, if it is no such file, or one that cannot be opened."""
        if path.suffix == ".gguf":
            return cls(path, frozenset())
        from safetensors import SafetensorError, safe_open

        refuse_damaged(path)
        try:
            with safe_open(path, "pt") as file:
                made = cls(path, frozenset(file.keys()), file.metadata() or {})
        except (OSError, SafetensorError, ValueError) as error:
            raise _refused(f"cannot read {path}: {one_line(error)}") from error
        refuse_lora(str(path), made.keys)
        for key in EDM_KEYS:
            if key in made.keys:
                raise _refused(
                    f"{path} has EDM's noise process ({key}), which hero cannot train; it can "
                    "train models that predict noise, v or a flow"
                )
        return made

    @property
    def scaled(self) -> bool:
        """True for fp8 weights that are to be multiplied by scales beside them."""
        return any(key.endswith(FP8_SCALES) for key in self.keys)

    @property
    def network_only(self) -> bool:
        """True for a network beside a base folder, as ComfyUI's users keep them."""
        return not any(key.startswith(VAE_KEYS) for key in self.keys)

    def scheduler_changes(self) -> dict[str, Any]:
        """What its markers say of the noise process, for the scheduler's configuration."""
        changes: dict[str, Any] = {}
        if "v_pred" in self.keys or self._said() in ("v", "v_prediction", "v-prediction"):
            changes["prediction_type"] = "v_prediction"
        elif self._said() in ("epsilon", "eps"):
            changes["prediction_type"] = "epsilon"
        if "ztsnr" in self.keys:
            changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return changes

    def _said(self) -> str:
        """The prediction type in the metadata: modelspec's, ComfyUI's, or by the architecture."""
        for key in ("modelspec.prediction_type", "modelspec.predict_key"):
            if key in self.metadata:
                return self.metadata[key].lower()
        return "v" if self.metadata.get("modelspec.architecture", "").endswith("-v") else ""

    def notices(self) -> Iterator[str]:
        """The same in words."""
        changes = self.scheduler_changes()
        if changes.get("prediction_type") == "v_prediction":
            yield f"the model predicts v ({self.path.name} says so)"
        if "rescale_betas_zero_snr" in changes:
            yield f"its noise schedule ends in pure noise, zero SNR ({self.path.name} says so)"
        if self.scaled:
            yield f"{self.path.name}: fp8 weights were multiplied by their scales"


def open_single_file(
    file: SingleFile, pipeline_class: str, config: str, dtype: torch.dtype, **given: Any
) -> Any:
    """The pipeline of a whole checkpoint, on the CPU; the VAE in float32.

    config: a local folder with the configuration. given: components from elsewhere. What the file
    says of its noise process goes into the scheduler.
    """
    import diffusers

    kind: Any = getattr(diffusers, pipeline_class)
    with naming_faults(file, config), scaled_back(file, dtype):
        pipeline = kind.from_single_file(
            str(file.path), torch_dtype=dtype, config=config or None, **given
        )
    apply_markers(file, pipeline)
    return pipeline


def apply_markers(file: SingleFile, pipeline: Any) -> None:
    """What the file says of its noise process, into the pipeline's scheduler."""
    changes = file.scheduler_changes()
    if changes:
        scheduler = pipeline.scheduler
        pipeline.scheduler = type(scheduler).from_config(scheduler.config, **changes)


def open_network(
    file: SingleFile,
    network_class: str,
    component: str,
    config: str,
    dtype: torch.dtype,
    quantisation: Any = None,
) -> Any:
    """The network of a file that has nothing else; config: the base folder. Also GGUF.

    quantisation: diffusers' configuration for a file that is not quantised.
    """
    import diffusers

    more: dict[str, Any] = {}
    if quantisation is not None:
        more["quantization_config"] = quantisation
    if file.path.suffix == ".gguf":
        require("gguf", file.path.name)
        more["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    with naming_faults(file, config), scaled_back(file, dtype):
        return getattr(diffusers, network_class).from_single_file(
            str(file.path), config=config, subfolder=component, torch_dtype=dtype, **more
        )


@contextmanager
def naming_faults(file: SingleFile, config: str) -> Iterator[None]:
    """Whatever diffusers cannot load becomes one line, exit code 3, with the weights it lacks."""
    move: Any = nn.Module.to

    def moved(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        try:
            return move(module, *args, **kwargs)
        except NotImplementedError as error:  # some weights are on the meta device still
            lacking = [key for key, weight in module.named_parameters() if weight.is_meta]
            if not lacking:
                raise
            raise _refused(
                f"{file.path.name} lacks weights of its {type(module).__name__}: {listed(lacking)}"
            ) from error

    try:
        with patch.object(nn.Module, "to", moved):
            yield
    except HeroError:
        raise
    except Exception as error:  # diffusers' converters index and split whatever they expect
        if match := MISMATCH.search(str(error)):
            raise _refused(f"{file.path.name} {OTHER_SHAPES}: {match[1]}") from error
        raise _refused(
            f"{file.path.name} does not fit the configuration of {Path(config).name}: "
            f"{one_line(error)}"
        ) from error


def has_encoder(file: SingleFile, kind: Any) -> bool:
    """Whether a text encoder of this class is among the file's weights, as diffusers tells it."""
    from diffusers.loaders import single_file_utils

    tells: Any = single_file_utils
    keys = dict.fromkeys(file.keys)
    return bool(tells.is_clip_model_in_single_file(kind, keys) or tells.is_t5_in_single_file(keys))


@contextmanager
def scaled_back(file: SingleFile, dtype: torch.dtype) -> Iterator[None]:
    """As long as the block lasts, diffusers reads fp8 weights multiplied by their scales.

    diffusers reads a checkpoint by one function, which two of its modules have imported.
    """
    if not file.scaled:
        yield
        return
    from diffusers.loaders import single_file, single_file_model

    modules: tuple[Any, ...] = (single_file, single_file_model)
    read = single_file.load_single_file_checkpoint

    def read_scaled(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return dequantised(read(*args, **kwargs), dtype, file.path)

    try:
        for module in modules:
            module.load_single_file_checkpoint = read_scaled
        yield
    finally:
        for module in modules:
            module.load_single_file_checkpoint = read


def dequantised(state: Mapping[str, Tensor], dtype: torch.dtype, path: Path) -> dict[str, Tensor]:
    """The weights times their scales, in this dtype; scales and marks left out.

    A scale is one number, or one of each row. HeroError, exit code 3, for weights that are scaled
    but no fp8.
    """
    made = {name: w for name, w in state.items() if not name.endswith(FP8_SCALES + FP8_MARKS)}
    for key, scale in state.items():
        if not key.endswith(FP8_SCALES):
            continue
        name = f"{key.rpartition('.')[0]}.weight"
        weight = state.get(name)
        if weight is None or weight.dtype not in FP8:
            raise _refused(
                f"{path} has a scale for {name}, which is no fp8 weight: use the file in bf16"
            )
        rows = scale.float() if scale.dim() != 1 else scale.float()[:, None]
        made[name] = (weight.float() * (scale.float() if scale.numel() == 1 else rows)).to(dtype)
    return made


def _refused(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)
