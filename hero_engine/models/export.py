"""Exports a run: a LoRA file, a merged model, a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, get_args

from torch import Tensor

from hero_engine import __version__
from hero_engine.config.settings import Settings
from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.lora_files import diffusers_lora, kohya_lora
from hero_engine.models.lora_programs import Program, base_metadata, layout_for
from hero_engine.models.model_card import model_card
from hero_engine.models.model_sources import public_name
from hero_engine.models.pipeline_facts import Layout
from hero_engine.storage.atomic_files import write_atomically, write_tensors
from hero_engine.storage.run_folder import RunDir

LAYOUTS: tuple[str, ...] = get_args(Layout)
CARD = "README.md"
CHECKPOINTS = (".safetensors", ".ckpt", ".bin", ".pt", ".gguf")


@dataclass(frozen=True)
class Learned:
    """A run's newest checkpoint: the LoRA as `Model.lora_state` gave it, and the counters."""

    folder: RunDir
    lora: dict[str, Tensor]
    rounds: int
    labels: int

    @classmethod
    def of(cls, folder: RunDir) -> Self:
        """HeroError, exit code 4, if no round is finished yet."""
        found = folder.load_checkpoint()
        if found is None:
            raise HeroError(f"{folder.path} has not finished a round yet", exit_code=ExitCode.RUN)
        parts, state = found
        return cls(folder, parts["lora"], state["round"], state["finished"]["labels_total"])

    @property
    def layers(self) -> list[str]:
        """The layers that have LoRA weights."""
        end = ".lora_A.weight"
        return [name.removesuffix(end) for name in self.lora if name.endswith(end)]

    def metadata(self) -> dict[str, str]:
        """Where the weights come from, as every file of them says."""
        settings = self.folder.settings
        return {
            "hero_version": __version__,
            "task": settings.task,
            "prompt": settings.prompt,
            **({"prompts": json.dumps(settings.prompts)} if settings.prompts else {}),
            "base_model": public_name(settings.model),
            "preset": settings.preset,
            "update": settings.update,
            "rounds": str(self.rounds),
            "labels": str(self.labels),
        }


def export_lora(
    folder: RunDir, out: Path, layout: Layout = "diffusers", program: Program | None = None
) -> None:
    """Write the newest checkpoint's LoRA to `out`, with where it comes from as metadata.

    program: what reads the file, and decides on its layout. HeroError if no round is finished
    yet (exit code 4), the layout or the program has none for this kind of model (2), or the base
    model is not known any more or `out` cannot be written (3).
    """
    from hero_engine.models.pipeline_loading import bare_network, prediction_type

    learned, settings = Learned.of(folder), folder.settings
    facts, part, network = bare_network(settings.model, settings.model_config)
    if program is not None:
        layout = layout_for(program, facts, learned.layers)
    prediction = prediction_type(settings.model, settings.model_config, settings.network)
    metadata = learned.metadata() | base_metadata(facts, network, prediction)
    metadata |= {"modelspec.title": settings.task} if "modelspec.architecture" in metadata else {}
    if layout == "kohya":
        tensors = kohya_lora(learned.lora, settings.lora, facts, network)
        metadata |= kohya_metadata(settings)
    else:
        tensors = diffusers_lora(learned.lora, settings.lora, part)
    with _written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(out, tensors, metadata)


def kohya_metadata(settings: Settings) -> dict[str, str]:
    """What A1111 shows of a file (kohya-ss/sd-scripts, train_network.py)."""
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(settings.lora.rank),
        "ss_network_alpha": str(settings.lora.alpha),
        "ss_output_name": settings.task,
        "ss_sd_model_name": public_name(settings.model),
    }


def export_merged(folder: RunDir, out: Path) -> None:
    """Write the base model with the LoRA in its weights, as a folder that diffusers opens.

    HeroError as for `export_lora`; `out` must not be there yet, or be empty.
    """
    import torch

    from hero_engine.models.lora import merge_lora
    from hero_engine.models.pipeline_loading import load_pipeline
    from hero_engine.models.published_layout import make_loadable, write_published_layout
    from hero_engine.models.quiet_libraries import quiet

    learned, settings = Learned.of(folder), folder.settings
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HeroError(f"{out} exists already; --merge makes a new folder")
    if settings.network.endswith(".gguf"):
        raise HeroError("a .gguf network cannot be merged: export the LoRA, without --merge")
    opened = load_pipeline(settings.model, torch.float32, settings.model_config, settings.network)
    pipeline, part = opened.pipeline, opened.network
    network = getattr(pipeline, part)
    with quiet(), _written(out):
        merge_lora(network, learned.lora, settings.lora)
        if opened.folder is None:
            pipeline.save_pretrained(out)
        else:
            ignore = _all_but(opened.folder, part)
            shutil.copytree(opened.folder, out, dirs_exist_ok=True, ignore=ignore)
            network.save_pretrained(out / part)
            if Path(settings.model).is_file() or settings.network:
                # A file's markers may have changed the noise process.
                pipeline.scheduler.save_pretrained(out / "scheduler")
            make_loadable(out)
        write_published_layout(out)


def _all_but(root: Path, part: str) -> Callable[[str, list[str]], list[str]]:
    """For `copytree`: leave out the network, which is written anew, the base's own card, and
    whole checkpoints beside the folders, which have the base's weights."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        at_root = Path(folder) == root
        return [
            name
            for name in names
            if name in (part, CARD, ".git", ".cache")
            or (at_root and Path(name).suffix in CHECKPOINTS)
        ]

    return left_out


def export_card(folder: RunDir, beside: Path) -> Path:
    """Write a model card next to an exported file, or into an exported folder; returns its path.

    HeroError, exit code 3, if a README.md is there already or cannot be written.
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
