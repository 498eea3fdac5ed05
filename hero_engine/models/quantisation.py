"""Smaller weights of the frozen network, by diffusers' own configurations; its LoRA stays float32.

int8 and fp8 keep a byte for each weight of a linear layer (torchao), nf4 half a byte (bitsandbytes,
on a GPU). Layers compute in the network's own precision.
"""

from __future__ import annotations

from typing import Any

import torch

from hero_engine.core.errors import ExitCode, HeroError
from hero_engine.models.quantisation_libraries import require

PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}
"""What each kind needs besides diffusers."""


def quantisation_config(kind: str, dtype: torch.dtype, device: torch.device) -> Any:
    """diffusers' configuration of "int8", "fp8" or "nf4"; None for "none".

    dtype: what layers compute in. HeroError, exit code 3, if it cannot work here.
    """
    if kind == "none":
        return None
    if kind == "nf4" and device.type != "cuda":
        raise _refused("--quantise nf4 needs a GPU: use int8 or fp8 on a CPU")
    require(PACKAGES[kind], f"--quantise {kind}")
    import diffusers

    if kind == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    kinds = {"int8": Int8WeightOnlyConfig, "fp8": Float8WeightOnlyConfig}
    return diffusers.TorchAoConfig(kinds[kind]())


def _refused(message: str) -> HeroError:
    return HeroError(message, exit_code=ExitCode.ENVIRONMENT)
