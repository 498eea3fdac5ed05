"""A run's LoRA as one safetensors file that diffusers' `load_lora_weights` opens."""

from __future__ import annotations

from pathlib import Path

from hero_engine import __version__
from hero_engine.errors import ExitCode, HeroError
from hero_engine.files import write_tensors
from hero_engine.lora import portable_lora
from hero_engine.rundir import RunDir


def export_lora(folder: RunDir, out: Path) -> None:
    """Write the newest checkpoint's LoRA to `out`, with where it comes from as metadata.

    The scale alpha / rank is in the weights, so any reader gets the same pictures.
    HeroError where no round is finished yet (exit code 4) or `out` cannot be written (3).
    """
    found = folder.load_checkpoint()
    if found is None:
        raise HeroError(f"{folder.path} has not finished a round yet", exit_code=ExitCode.RUN)
    parts, state = found
    settings = folder.settings
    metadata = {
        "hero_version": __version__,
        "task": settings.task,
        "prompt": settings.prompt,
        "base_model": settings.model,
        "preset": settings.preset,
        "update": settings.update,
        "rounds": str(state["round"]),
        "labels": str(state["finished"]["labels_total"]),
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(out, portable_lora(parts["lora"], settings.lora), metadata)
    except OSError as error:
        raise HeroError(
            f"cannot write {out}: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from error
