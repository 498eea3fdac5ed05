"""`hero show`, `hero eval` and `hero export`: their options. What they do is imported late."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hero_engine.core.errors import HeroError
from hero_tui.commands.shared_options import (
    AnotherPrompt,
    EvaluationNoise,
    Graphics,
    Human,
    Json,
    LabelledPictures,
    OtherRun,
    OwnJudge,
    PicturesFolder,
    RunName,
    SomeRound,
    SomeRun,
    Transfer,
)


def show(name: RunName = None, round: SomeRound = None) -> None:
    """Print a round's images with their labels."""
    from hero_tui.commands import inspect_runs as inspect

    inspect.show(name, round)


def evaluation(
    name: SomeRun,
    other: OtherRun = None,
    images: Annotated[int, typer.Option(min=2, metavar="N", help="Images per model.")] = 64,
    noise: EvaluationNoise = "fresh",
    prompt: AnotherPrompt = None,
    transfer: Transfer = False,
    judge: OwnJudge = None,
    human: Human = False,
    graphics: Graphics = None,
    as_json: Json = False,
) -> None:
    """Compare the tuned model with its base: success rate and diversity.

    \b
    hero eval RUN --images 384 --noise fresh --json
    hero eval RUN --human --images 32
    hero eval RUN RUN2 --human

    With RUN2 you compare the LoRAs of two runs. Without --human or --judge a classifier judges that
    gave no label.
    """
    if human:
        from hero_tui.commands.human_evaluation import compare

        raise typer.Exit(
            compare(
                name,
                images,
                noise,
                prompt=prompt,
                graphics=graphics,
                as_json=as_json,
                other=other,
            )
        )
    if other is not None:
        raise HeroError("two runs are compared by a person: add --human")
    from hero_tui.commands.judge_evaluation import score

    score(name, images, noise, prompt=prompt, as_json=as_json, transfer=transfer, judge=judge)


def export(
    name: SomeRun,
    folder: PicturesFolder = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="LoRA file to write (.safetensors).")
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="diffusers|comfyui|a1111",
            help="Program that reads the file; a1111 is Forge too.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="diffusers|kohya",
            help="Layout of the file, in place of --for.",
        ),
    ] = None,
    merge: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the whole model, LoRA merged, in diffusers' layout."
        ),
    ] = None,
    pictures: LabelledPictures = None,
    card: Annotated[bool, typer.Option("--card", help="Write a model card beside it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write a run's LoRA, the merged model, or labelled pictures.

    \b
    hero export RUN --out hands.safetensors --card
    hero export RUN --out hands.safetensors --for comfyui
    hero export RUN --merge hands-model
    hero export RUN --pictures good favourites
    """
    if pictures is not None or folder is not None:
        from hero_tui.commands.export_pictures import export_pictures

        export_pictures(name, pictures, folder, force=force)
        if out is None and merge is None:
            return
    from hero_tui.commands.export_lora import export as write

    write(name, out=out, program=program, layout=layout, merge=merge, card=card, force=force)
