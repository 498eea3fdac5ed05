"""`hero export`: write a LoRA file, a merged model, a model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hero_engine.core.errors import HeroError
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import talk
from hero_tui.session.next_step import NOT_EMBEDDED, cannot_open

SUFFIX, CARD = ".safetensors", "README.md"


def export(
    name: str,
    *,
    out: Path | None,
    program: str | None,
    layout: str | None,
    merge: Path | None,
    card: bool,
    force: bool,
) -> None:
    """Write a LoRA file, a merged model, a model card; files that exist only with `force`."""
    if out is None and merge is None:
        raise HeroError(
            "nothing to write: give --out FILE for the LoRA, --merge DIR for the model, or "
            "--pictures good DIR for pictures"
        )
    run = open_run(name)
    refuse_existing(out, merge, card=card, force=force)
    from hero_engine.models import export as engine
    from hero_engine.models.lora_programs import PROGRAMS

    check_choice("--for", program, PROGRAMS)
    check_choice("--format", layout, engine.LAYOUTS)
    if program and layout:
        raise HeroError("--for decides on the layout: give --for or --format, not both")
    if out is not None:
        engine.export_lora(run, out, layout or "diffusers", program)  # type: ignore[arg-type]
        but = f", but it{NOT_EMBEDDED}" if cannot_open(program, run.settings.model) else ""
        talk(f"wrote {out}" + (f" for {program}{but}" if program else ""))
    if merge is not None:
        engine.export_merged(run, merge)
        talk(f"wrote {merge}")
    if card:
        card_of(out, merge).unlink(missing_ok=True)
        talk(f"wrote {engine.export_card(run, merge if merge is not None else out)}")  # type: ignore[arg-type]


def check_choice(option: str, choice: str | None, choices: Sequence[str]) -> None:
    """HeroError for a value that an option does not have."""
    if choice is not None and choice not in choices:
        raise HeroError(f"{option} {choice}: choose one of {', '.join(choices)}")


def refuse_existing(out: Path | None, merge: Path | None, *, card: bool, force: bool) -> None:
    """HeroError for the first of the files that would be replaced, before anything is written."""
    if out is not None:
        check_file(out, force=force)
    if merge is not None:
        check_folder(merge)
    beside = card_of(out, merge)
    if card and beside.exists() and not force:
        raise HeroError(f"{beside} exists; replace it with --force, or leave --card out")


def card_of(out: Path | None, merge: Path | None) -> Path:
    """Where the model card goes: into the merged model, else beside the LoRA."""
    return (merge or Path(out or "").parent) / CARD


def check_file(out: Path, *, force: bool) -> None:
    """HeroError for another suffix than a LoRA file has, and for a file that exists."""
    if out.suffix != SUFFIX:
        raise HeroError(f"--out {out}: the LoRA is a safetensors file; name it {out.stem}{SUFFIX}")
    if out.exists() and not force:
        raise HeroError(f"{out} exists; choose another --out, or replace it with --force")


def check_folder(out: Path) -> None:
    """HeroError where a merged model would not be alone: no force deletes a folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HeroError(f"{out} exists already; --merge makes a new folder")
