"""`hero export`: a LoRA file, a merged model, a model card."""

from __future__ import annotations

from pathlib import Path

from hero_engine.core.errors import HeroError
from hero_tui.commands.find_run import open_run
from hero_tui.output_streams import talk


def export(name: str, *, out: Path | None, layout: str, merge: Path | None, card: bool) -> None:
    """Write what was asked for, and say so."""
    if out is None and merge is None:
        raise HeroError("say what to write: --out FILE for the LoRA, --merge DIR for the model")
    run = open_run(name)
    from hero_engine.models import export as engine

    if layout not in engine.LAYOUTS:
        raise HeroError(f"--format {layout}: choose one of {', '.join(engine.LAYOUTS)}")
    if out is not None:
        engine.export_lora(run, out, layout)  # type: ignore[arg-type]
        talk(f"wrote {out}")
    if merge is not None:
        engine.export_merged(run, merge)
        talk(f"wrote {merge}")
    if card:
        talk(f"wrote {engine.export_card(run, merge if merge is not None else out)}")  # type: ignore[arg-type]
