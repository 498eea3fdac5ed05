"""Options and arguments that several commands have."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hero_engine.core.numbering import index


def typed_round(number: int | None) -> int | None:
    """The index of a round that was typed; None where none was."""
    return None if number is None else index(number)


def round_option(help: str) -> Any:
    """An option for the number of a round, of which a command gets the index."""
    return typer.Option(min=1, metavar="N", callback=typed_round, help=help)


RunName = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Folder or name of a run; the newest if none.")
]
SomeRun = Annotated[str, typer.Argument(metavar="RUN", help="Folder or name of a run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TaskName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE.toml", help="A task's name, or your own file.")
]
ModelName = Annotated[
    str | None,
    typer.Option(metavar="embedded|FOLDER|HUB_ID", help="The diffusion model; else embedded."),
]
PresetName = Annotated[
    str | None,
    typer.Option(metavar="embedded|paper|hero+", help="Settings to start from; else by the model."),
]
SetAny = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; see hero config show."),
]
Graphics = Annotated[
    str | None,
    typer.Option(
        metavar="auto|kitty|iterm|sixel|symbols", help="How pictures are drawn; else auto."
    ),
]
Headless = Annotated[bool, typer.Option("--headless", help="No app; JSON lines on stdout.")]
LabelSource = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="judge|FILE.jsonl|none",
        help="Where labels come from; none: stop with 5 and wait for hero label.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Use labels that were given for other pictures.")
]
Processes = Annotated[
    int, typer.Option(min=1, metavar="N", help="Share the computing; on GPUs, one a process.")
]
ThisRound = Annotated[int | None, round_option("This round only; the first is 1 (0 in JSON).")]
SomeRound = Annotated[int | None, round_option("A round, the first is 1; the newest if none.")]
FromRound = Annotated[
    int | None,
    round_option("Leave the run as it is; a new one does round N again. 1: from the beginning."),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(min=0, metavar="S", help="Stop with 75 at the first safe point after S seconds."),
]
MaxRounds = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop with 75 once N rounds were done.")
]
