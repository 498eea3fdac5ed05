"""Write a run's LoRA so that diffusers' ``load_lora_weights`` opens it and makes the same pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine import __version__
from hero_engine.errors import HeroError
from hero_engine.evaluate import restored

if TYPE_CHECKING:
    from hero_engine.pipeline import Model
    from hero_engine.rundir import RunDir


def export_lora(run: RunDir, model: Model, path: Path) -> None:
    """Write ``path`` (.safetensors): the LoRA in diffusers' naming, scale folded in, with metadata.

    HeroError, exit code 2, where the path cannot be written or is not a .safetensors file.
    """
    from safetensors.torch import save_file

    if path.suffix != ".safetensors":
        raise HeroError(f"--out {path}: the file's name must end in .safetensors")
    learner = restored(run, model)
    settings = run.settings
    metadata = {
        "format": "pt",
        "hero_version": __version__,
        "task": run.task.name,
        "prompt": settings.prompt,
        "base_model": settings.model,
        "update": settings.update,
        "preset": settings.preset,
        "labels": str(len(learner.memory.good_N)),
        "sampler": json.dumps(
            {
                "steps": settings.sampler.steps,
                "eta": settings.sampler.eta,
                "guidance": settings.sampler.guidance,
            }
        ),
    }
    beside = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(model.portable_lora_state(), beside, metadata)
        beside.replace(path)
    except OSError as error:
        raise HeroError(f"cannot write {path}: {error.strerror or error}") from error
