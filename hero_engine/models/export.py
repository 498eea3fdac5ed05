"""What a run has learned, for other programs: a LoRA file, a merged model, a model card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from torch import Tensor

from hero_engine import __version__
from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.lora_files import diffusers_lora, kohya_lora
from hero_engine.models.model_card import model_card
from hero_engine.models.model_sources import find_model, model_facts, model_index, network_name
from hero_engine.storage.atomic_files import write_atomically, write_tensors
from hero_engine.storage.run_folder import RunDir

Layout = Literal["diffusers", "kohya"]
LAYOUTS: tuple[str, ...] = get_args(Layout)
CARD = "README.md"


@dataclass(frozen=True)
class Learned:
    """A run's newest checkpoint: the LoRA as `Model.lora_state` gave it, and the counters."""

    folder: RunDir
    lora: dict[str, Tensor]
    rounds: int
    labels: int

    @classmethod
    def of(cls, folder: RunDir) -> Self:
        """HeroError, exit code 4, where no round is finished yet."""
        found = folder.load_checkpoint()
        if found is None:
            raise HeroError(f"{folder.path} has not finished a round yet", exit_code=ExitCode.RUN)
        parts, state = found
        return cls(folder, parts["lora"], state["round"], state["finished"]["labels_total"])

    def metadata(self) -> dict[str, str]:
        """Where the weights come from, as every file of them says."""
        settings = self.folder.settings
        return {
            "hero_version": __version__,
            "task": settings.task,
            "prompt": settings.prompt,
            "base_model": settings.model,
            "preset": settings.preset,
            "update": settings.update,
            "rounds": str(self.rounds),
            "labels": str(self.labels),
        }


def export_lora(folder: RunDir, out: Path, layout: Layout = "diffusers") -> None:
    """Write the newest checkpoint's LoRA to `out`, with where it comes from as metadata.

    HeroError where no round is finished yet (exit code 4), the layout is not one for this kind of
    model (2), or the base model is not known any more or `out` cannot be written (3).
    """
    learned, settings = Learned.of(folder), folder.settings
    facts, metadata = model_facts(settings.model, settings.model_config), learned.metadata()
    if layout == "kohya":
        tensors = kohya_lora(learned.lora, settings.lora, facts)
        metadata |= {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(settings.lora.rank),
            "ss_network_alpha": str(settings.lora.alpha),
        }
    else:
        part = network_name(model_index(find_model(settings.model), settings.model_config))
        tensors = diffusers_lora(learned.lora, settings.lora, part)
    with _written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(out, tensors, metadata)


def export_merged(folder: RunDir, out: Path) -> None:
    """Write the base model with the LoRA in its weights, as a folder that diffusers opens.

    HeroError as for `export_lora`; `out` must not be there yet, or be empty.
    """
    import torch

    from hero_engine.models.open_model import load_pipeline
    from hero_engine.models.quiet_libraries import quiet

    learned, settings = Learned.of(folder), folder.settings
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HeroError(f"{out} exists already; --merge makes a new folder")
    opened = load_pipeline(settings.model, torch.float32, settings.model_config)
    pipeline, part = opened.pipeline, opened.network
    with quiet(), _written(out):
        pipeline.load_lora_weights(diffusers_lora(learned.lora, settings.lora, part))
        pipeline.fuse_lora(components=[part])
        pipeline.unload_lora_weights()
        pipeline.save_pretrained(out)


def export_card(folder: RunDir, beside: Path) -> Path:
    """Write a model card next to an exported file, or into an exported folder; returns its path.

    HeroError, exit code 3, where a README.md is there already or cannot be written.
    """
    card = (beside if beside.is_dir() else beside.parent) / CARD
    if card.exists():
        raise HeroError(
            f"{card} exists already; export to another folder, or without --card",
            exit_code=ExitCode.ENVIRONMENT,
        )
    learned = Learned.of(folder)
    with _written(card):
        write_atomically(card, model_card(folder, learned.metadata(), beside))
    return card


@contextmanager
def _written(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise HeroError(f"cannot write {out}: {reason}", exit_code=ExitCode.ENVIRONMENT) from error
