"""A run's record of its model: a fingerprint of each component, and the notices at opening.

A run resumed with other weights, tokenizers or schedules is not the same run, so resume
refuses them. `model.toml` in the run's folder has the record.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import tomli_w
import torch
from torch import Tensor, nn

from hero_engine.core.errors import Damaged, ExitCode, HeroError
from hero_engine.storage.atomic_files import write_atomically
from hero_engine.storage.run_folder import RunDir

RECORD = "model.toml"
SAMPLED = 1024
"""Numbers per tensor in a fingerprint, evenly spread: any training changes all of them."""

PROBE = "a photo of 1 hand, 5 fingers"
"""Text whose tokens distinguish tokenizers."""


def fingerprints(pipeline: Any) -> dict[str, str]:
    """A SHA-256 of each component, by its name; before LoRA weights are attached."""
    found = {}
    for name, component in sorted(pipeline.components.items()):
        if isinstance(component, nn.Module):
            found[name] = _hashed(_of_weights(component))
        elif hasattr(component, "alphas_cumprod") or hasattr(component, "set_timesteps"):
            found[name] = _hashed([_json(component.config)])
        elif callable(component) and hasattr(component, "convert_tokens_to_ids"):
            found[name] = _hashed([_json(component(PROBE)["input_ids"])])
    return found


def _of_weights(module: nn.Module) -> Iterable[bytes]:
    for name, weight in module.state_dict().items():
        if isinstance(weight, Tensor):
            yield f"{name} {tuple(weight.shape)}".encode()
            yield _sample(weight)


def _sample(weight: Tensor) -> bytes:
    if type(weight) not in (Tensor, nn.Parameter):  # quantised by torchao
        weight = weight.dequantize()
    flat = weight.detach().flatten()
    stride = max(1, len(flat) // SAMPLED)
    picked = flat[::stride][: 2 * SAMPLED].to("cpu", torch.float32).contiguous()
    return bytes(picked.numpy().tobytes())


def _json(value: Any) -> bytes:
    plain = {k: v for k, v in value.items() if k[:1] != "_"} if hasattr(value, "items") else value
    return json.dumps(plain, sort_keys=True, default=str).encode()


def _hashed(parts: Iterable[bytes]) -> str:
    made = sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()


def record_model(
    folder: RunDir, found: dict[str, str], notices: tuple[str, ...]
) -> tuple[str, ...]:
    """Write the record where the run has none; returns the notices, once a run.

    HeroError: as `check_model`.
    """
    path = folder.path / RECORD
    if path.exists():
        check_model(folder, found)
        return ()
    write_atomically(path, tomli_w.dumps({"told": list(notices), "fingerprints": found}))
    return notices


def check_model(folder: RunDir, found: dict[str, str]) -> None:
    """HeroError, exit code 3, if a component is another one than the run began with."""
    path = folder.path / RECORD
    if not path.exists():
        return
    try:
        recorded = dict(tomllib.loads(path.read_text("utf-8"))["fingerprints"])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged; delete it to accept the model as it is now") from error
    other = [name for name, print in recorded.items() if found.get(name) != print]
    if other:
        raise HeroError(
            f"{', '.join(other)} of model {folder.settings.model} changed since this run began: "
            "restore the old files, or start a new run",
            exit_code=ExitCode.ENVIRONMENT,
        )
