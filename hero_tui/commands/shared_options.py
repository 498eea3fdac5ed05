"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hero_engine.core.numbering import index


def typed_round(number: int | None) -> int | None:
    """The index of a round that was typed; None where none was."""
    return None if number is None else index(number)


def round_option(help: str) -> Any:
    """An option for the number of a round, of which a command gets the index."""
    return typer.Option(min=1, metavar="N", callback=typed_round, help=help)


WHICH_RUN = "Folder of a run, its name, or the start of its name"
UPDATES = "ddpo|forward|d3po|sft"
RunName = Annotated[
    str | None, typer.Argument(metavar="RUN", help=f"{WHICH_RUN} (default: the newest).")
]
SomeRun = Annotated[str, typer.Argument(metavar="RUN", help=f"{WHICH_RUN}.")]
OtherRun = Annotated[
    str | None, typer.Argument(metavar="RUN2", help="With --human: the run to compare with.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TaskName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE.toml", help="The task: a name or a task file.")
]
MorePromptTexts = Annotated[
    list[str] | None,
    typer.Option("--prompt", metavar="TEXT", help="A further prompt; repeat it for more."),
]
PromptsFile = Annotated[
    Path | None, typer.Option("--prompts", metavar="FILE", help="Prompts, one a line.")
]
KeepAside = Annotated[
    int,
    typer.Option(
        "--keep-aside",
        min=0,
        metavar="N",
        help="Prompts to keep out of the run, for transfer.",
    ),
]
AddedPrompts = Annotated[
    list[str] | None,
    typer.Option(
        "--add-prompt", metavar="TEXT", help="A further prompt, from the next round; repeatable."
    ),
]
Ahead = Annotated[
    bool, typer.Option("--ahead", help="Sample the next round while you label this one.")
]
Seed = Annotated[int | None, typer.Option(min=0, metavar="N", help="Seed of every random draw.")]
NewFolder = Annotated[
    Path | None, typer.Option("--dir", metavar="RUN", help="Folder of the new run.")
]
BatchSize = Annotated[int | None, typer.Option(min=1, metavar="N", help="Images per round.")]
Criterion = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What counts as good, for a prompt.")
]
AnotherPrompt = Annotated[str | None, typer.Option(help="Another prompt, to measure transfer.")]
OwnJudge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="python:M:F|command:CMD",
        help="A judge of your own, as for --labels: its scores and success rates.",
    ),
]
BranchFolder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="NEW", help="Folder of the new run of --from-round."),
]
Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="GOOD/ BAD/ | LIST.jsonl", help="Folders named good or bad, or lists of pictures."
    ),
]
ImportPrompt = Annotated[
    str | None, typer.Option("--prompt", metavar="TEXT", help="Prompt of pictures that say none.")
]
CropWhere = Annotated[
    str,
    typer.Option(
        "--crop", metavar="center|top|bottom|left|right", help="Which part of a picture is kept."
    ),
]
Human = Annotated[
    bool, typer.Option("--human", help="You judge blind in the app: any task, any model.")
]
EvaluationNoise = Annotated[
    str, typer.Option(metavar="fresh|guided", help="N(0, I), or the run's noise prior.")
]
Rounds = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Rounds to run, instead of a label budget."),
]
MoreRounds = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="More rounds to run, also beyond the label budget."),
]
NegativePrompt = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Negative prompt of guidance.")
]
InputPictures = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="Picture that an editing model changes; several: each prompt is drawn from each.",
    ),
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="WIDTHxHEIGHT",
        help="Size of the images; several: each prompt is drawn in each.",
    ),
]
Transfer = Annotated[
    bool, typer.Option("--transfer", help="Use the prompts that were kept out of the run.")
]
UpdateName = Annotated[str | None, typer.Option(metavar=UPDATES, help="Training method.")]
InitLora = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="LoRA to start from: a file of any trainer, or its folder."),
]
NetworkFile = Annotated[
    Path | None,
    typer.Option(
        "--network",
        metavar="FILE",
        help="The network alone, .safetensors or .gguf; the rest is --model's.",
    ),
]
Quantise = Annotated[
    str | None,
    typer.Option(metavar="int8|fp8|nf4", help="Smaller weights of the frozen network."),
]
Offload = Annotated[
    bool, typer.Option("--offload", help="Keep the network on the CPU; its layers visit the GPU.")
]
ModelName = Annotated[
    str | None,
    typer.Option(metavar="embedded|FOLDER|HUB_ID", help="Diffusion model (default: embedded)."),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        metavar="embedded|paper|large|hero+|joint", help="Preset (default: by the model)."
    ),
]
SetAny = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; see hero config show."),
]
Graphics = Annotated[
    str | None,
    typer.Option(
        metavar="auto|kitty|iterm|sixel|symbols", help="How images are drawn (default: auto)."
    ),
]
Headless = Annotated[
    bool, typer.Option("--headless", help="Run without the app: JSON lines on stdout.")
]
LabelSource = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="judge|FILE.jsonl|python:M:F|command:CMD|none",
        help="Source of labels; none: exit with 5 and wait for hero label.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Use labels that were given for other images.")
]
Processes = Annotated[
    int, typer.Option(min=1, metavar="N", help="Processes that share the work; on GPUs, one each.")
]
LabelledPictures = Annotated[
    str | None,
    typer.Option(metavar="good|best", help="Copy the good or the best pictures into DIR."),
]
PicturesFolder = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="Folder for --pictures.")
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
    int | None,
    typer.Option(min=1, metavar="N", help="Stop with 75 after N rounds of this process."),
]
