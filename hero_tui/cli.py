"""The command line: every option, every exit code, and the one place that prints errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hero_engine import __version__
from hero_engine.core.errors import ExitCode, HeroError
from hero_tui.commands import bench, config_commands, home, label_commands, result_commands
from hero_tui.commands.help_text import EPILOG, HELP, CommandsFirst, QuickCommand
from hero_tui.commands.needed_commands import only_needed
from hero_tui.commands.shared_options import (
    AddedPrompts,
    Ahead,
    BatchSize,
    BranchFolder,
    Criterion,
    Force,
    FromRound,
    Graphics,
    Headless,
    InitLora,
    InputPictures,
    Json,
    KeepAside,
    LabelSource,
    MaxRounds,
    MaxSeconds,
    ModelName,
    MorePromptTexts,
    MoreRounds,
    NegativePrompt,
    NetworkFile,
    NewFolder,
    Offload,
    PresetName,
    Processes,
    PromptsFile,
    Quantise,
    Rounds,
    RunName,
    Seed,
    SetAny,
    Sizes,
    TaskName,
    UpdateName,
)
from hero_tui.commands.usage_errors import is_help, usage_message
from hero_tui.output_streams import (
    NobodyReads,
    any_encoding,
    data,
    forget_stdout,
    talk,
    talk_page,
)

CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
"""ClickException; typer brings its own copy of click, in a place that moves."""

app = typer.Typer(
    cls=CommandsFirst,
    help=HELP,
    epilog=EPILOG,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(bench.app, name="bench")
app.add_typer(config_commands.app, name="config")


def print_version(wanted: bool) -> None:
    """`hero --version`."""
    if wanted:
        data(f"hero {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of `hero` itself."""


@app.command()
def run(
    what: Annotated[
        str | None,
        typer.Argument(metavar="TASK", help="A task's name, a task file, or a prompt."),
    ] = None,
    good: Criterion = None,
    prompts: MorePromptTexts = None,
    prompts_file: PromptsFile = None,
    aside: KeepAside = 0,
    task: TaskName = None,
    model: ModelName = None,
    preset: PresetName = None,
    update: UpdateName = None,
    folder: NewFolder = None,
    rounds: Rounds = None,
    batch: BatchSize = None,
    seed: Seed = None,
    ahead: Ahead = False,
    negative_prompt: NegativePrompt = None,
    images: InputPictures = None,
    sizes: Sizes = None,
    init_lora: InitLora = None,
    network: NetworkFile = None,
    quantise: Quantise = None,
    offload: Offload = False,
    settings: SetAny = None,
    graphics: Graphics = None,
    headless: Headless = False,
    labels: LabelSource = None,
    force: Force = False,
    max_seconds: MaxSeconds = None,
    max_rounds: MaxRounds = None,
    processes: Processes = 1,
) -> None:
    """Start a run: sample images, label them, train, and repeat.

    \b
    hero run hands
    hero run "a red bicycle" --good "two wheels" --model ./sd15
    hero run "{red|blue} bicycle, {at dawn|in snow}" --good "two wheels" --model ./sd15
    hero run "make it night" --good "stars, same house" --image house.png --model ./flux2
    hero run mine.toml --model ./sd15 --batch 16 --set sampler.steps=30
    hero run hands --headless --labels judge --seed 1 --dir runs/one
    """
    from hero_tui.commands.name_task import MorePrompts
    from hero_tui.commands.start_run import Way, changes_of, given, new_run, one_task

    flags = changes_of(
        settings or [],
        task=one_task(what, task),
        model=model,
        preset=preset,
        update=update,
        rounds=rounds,
        batch=batch,
        seed=seed,
        sample_ahead=ahead or None,
        network=None if network is None else str(network),
        quantise=quantise,
        offload=offload or None,
        sampler=given(negative_prompt=negative_prompt, image=images and [*map(str, images)]),
        sizes=sizes or None,
        lora=None if init_lora is None else {"init": str(init_lora)},
    )
    way = Way(graphics, headless, labels, force, max_seconds, max_rounds, processes)
    more = MorePrompts(tuple(prompts or ()), prompts_file, aside)
    raise typer.Exit(new_run(flags, folder=folder, way=way, good=good, more=more))


@app.command()
def resume(
    name: RunName = None,
    rounds: MoreRounds = None,
    from_round: FromRound = None,
    folder: BranchFolder = None,
    added: AddedPrompts = None,
    graphics: Graphics = None,
    headless: Headless = False,
    labels: LabelSource = None,
    force: Force = False,
    max_seconds: MaxSeconds = None,
    max_rounds: MaxRounds = None,
    processes: Processes = 1,
) -> None:
    """Continue a run in the phase it was left in.

    \b
    hero resume
    hero resume hands-2026
    hero resume runs/one --headless --labels judge
    hero resume runs/one --from-round 3
    hero resume runs/one --add-prompt "a black cat sitting inside a cardboard box"
    """
    from hero_tui.commands.start_run import Way
    from hero_tui.commands.start_run import resume as go_on

    way = Way(graphics, headless, labels, force, max_seconds, max_rounds, processes)
    code = go_on(
        name,
        way=way,
        more_rounds=rounds,
        from_round=from_round,
        folder=folder,
        added=added or (),
    )
    raise typer.Exit(code)


@app.command()
def worker() -> None:
    """Share a run's work; accelerate launch starts it.

    accelerate launch --multi_gpu ... --no_python hero worker (full commands: docs/processes.md)
    """
    from hero_engine.runtime.rank_process import work

    work()


app.command()(label_commands.label)
app.command("import")(label_commands.import_pictures)
app.command("labels")(label_commands.labels_of)


@app.command()
def status(name: RunName = None, as_json: Json = False) -> None:
    """Print the state of a run and its rounds."""
    from hero_tui.commands import inspect_runs as inspect

    inspect.status(name, as_json)


@app.command()
def runs(as_json: Json = False) -> None:
    """List runs, the newest first: name, state, round, labels, task.

    \b
    hero runs
    hero runs --json
    """
    from hero_tui.commands import list_runs

    list_runs.runs(as_json)


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks that ship, and what counts as good in each."""
    from hero_tui.commands import list_tasks

    list_tasks.tasks(as_json)


app.command()(result_commands.show)
app.command("eval")(result_commands.evaluation)
app.command()(result_commands.export)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this terminal, this machine and this installation."""
    from hero_tui.commands.doctor import doctor as examine

    examine(as_json)


for command in app.registered_commands:
    command.cls = QuickCommand


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; an error is one line on stderr."""
    any_encoding()
    try:
        sys.exit(run_command(list(sys.argv[1:] if arguments is None else arguments)))
    except NobodyReads:
        forget_stdout()
        sys.exit(0)


def run_command(arguments: list[str]) -> int:
    """Run a command; returns its exit code."""
    try:
        if home.wanted(arguments):
            return home.home()
        return only_needed(app, arguments)(arguments, prog_name="hero", standalone_mode=False) or 0
    except HeroError as error:
        return _refused(error, error.message, error.exit_code)
    except CLICK_ERROR as error:
        return _wrong_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        talk("interrupted")
        return ExitCode.INTERRUPTED
    except NobodyReads:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return _refused(
            error, f"{type(error).__name__}: {reason} (HERO_DEBUG=1 shows more)", ExitCode.FAILED
        )


def _wrong_usage(error: Any) -> int:
    if is_help(error):
        talk_page(error.format_message())
        return ExitCode.USAGE
    return _refused(error, usage_message(error), ExitCode.USAGE)


def _refused(error: Exception, message: str, code: int) -> int:
    if os.environ.get("HERO_DEBUG") == "1":
        raise error
    talk(message)
    return code


if __name__ == "__main__":
    main()
