"""`hero label`, `hero import` and `hero labels`: their options. What they do is imported late."""

from __future__ import annotations

from typing import Annotated

import typer

from hero_tui.commands.shared_options import (
    CropWhere,
    Force,
    ImportPrompt,
    RunName,
    SomeRun,
    Sources,
    ThisRound,
)


def label(
    name: SomeRun,
    source: Annotated[
        str, typer.Option("--from", metavar="FILE.jsonl|-", help="Labels file; - reads stdin.")
    ],
    force: Force = False,
) -> None:
    """Store a file's labels for the waiting round.

    If a line is wrong, no label is stored.

    \b
    hero label runs/one --from labels.jsonl
    hero resume runs/one --headless
    """
    from hero_tui.commands import exchange_labels as labels

    labels.label(name, source, force=force)


def import_pictures(
    name: SomeRun, sources: Sources, prompt: ImportPrompt = None, crop: CropWhere = "center"
) -> None:
    """Let a run learn from labelled pictures that you have: folders or lists of them.

    \b
    hero import runs/one pictures/good pictures/bad
    hero import runs/one labelled.jsonl --crop top
    """
    from hero_tui.commands.import_labelled import import_into

    import_into(name, sources, prompt=prompt, crop=crop)


def labels_of(
    name: RunName = None,
    round: ThisRound = None,
    history: Annotated[
        bool, typer.Option("--history", help="Print every mark and undo, not only labels.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line, with image, latent and time.")
    ] = False,
) -> None:
    """Print every label of a run.

    \b
    hero labels runs/one --json > labels.jsonl
    """
    from hero_tui.commands import exchange_labels as labels

    labels.labels(name, round=round, history=history, as_json=as_json)
