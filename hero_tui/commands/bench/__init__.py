"""`hero bench`: measures hero on this machine. Each benchmark has its own file here.

Commands and their options are declared below; their files are imported when called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hero_tui.commands.shared_options import UPDATES, Json, PresetName

app = typer.Typer(
    help="Measure hero on this machine: docs/performance.md has the figures.", no_args_is_help=True
)


@app.callback()
def bench() -> None:
    """Measure hero on this machine: docs/performance.md has the figures."""


@app.command("tui")
def tui(
    quick: Annotated[
        bool, typer.Option("--quick", help="One minute instead of five: fewer keys and rounds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure key latency, bytes sent and engine slowdown.

    Runs the app on a pseudo-terminal while the engine trains the embedded model.
    """
    from hero_tui.commands.bench.bench_tui import bench_tui

    bench_tui(quick=quick, as_json=as_json)


@app.command("speed")
def speed(
    model: Annotated[
        str,
        typer.Option(
            metavar="embedded|FOLDER|HUB_ID|config:NAME",
            help="The diffusion model; config:sd15: its true configuration with random weights.",
        ),
    ] = "embedded",
    update: Annotated[
        str | None, typer.Option(metavar=UPDATES, help="The update (default: the preset's).")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=3, metavar="N", help="Pictures a round (default: preset's).")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in hero run."),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="2 or more: time a round in one process and in N that share it.",
        ),
    ] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="One turn instead of five (with --processes: two).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time sampling and the update against bare network calls.

    hero bench speed --update ddpo

    hero bench speed --model config:sd15 --set sampler.width=256

    hero bench speed --processes 2
    """
    from hero_tui.commands.bench.bench_processes import bench_processes
    from hero_tui.commands.bench.bench_speed import bench_speed, settings_to_measure

    settings = settings_to_measure(model, update, batch, changes or [])
    if processes == 1:
        bench_speed(settings, quick=quick, as_json=as_json)
    else:
        bench_processes(settings, processes, quick=quick, as_json=as_json)


@app.command("memory")
def memory(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="config:NAME...", help="Configurations; else all that ship."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print which model trains on which card, by arithmetic.

    Also the minutes of a round. It needs no GPU and no download.

    hero bench memory config:sd15 config:z-image
    """
    from hero_tui.commands.bench.bench_memory import bench_memory

    bench_memory(models or [], as_json=as_json)


@app.command("waiting")
def waiting(
    a_picture: Annotated[
        float, typer.Option("--seconds-a-picture", metavar="S", help="Seconds per label.")
    ] = 2.0,
    grace: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Seconds from a round's last Enter until the engine learns from it "
            "(default: ui.undo_seconds). 0: a second Enter follows at once.",
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Rounds of a session (default: 3).")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Pictures a round (default: preset's).")
    ] = None,
    update: Annotated[
        str | None, typer.Option(metavar=UPDATES, help="The update (default: the preset's).")
    ] = None,
    preset: PresetName = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two rounds of 16, with a larger share of waiting.")
    ] = False,
    real_time: Annotated[
        bool,
        typer.Option("--real-time", help="Do not skip time in which the engine only waits."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure how long a person waits, without and with --ahead.

    A simulated user labels the embedded model's pictures at a fixed rate, with the judge's
    labels. The clock skips the time in which the engine only waits, so it takes minutes.

    hero bench waiting --seconds-a-picture 1 --update ddpo
    """
    from hero_tui.commands.bench.bench_waiting import WaitingOptions, bench_waiting
    from hero_tui.commands.bench.simulated_user import UserTiming
    from hero_tui.preferences.settings_sources import UiSettings

    timing = UserTiming(a_picture, UiSettings().undo_seconds if grace is None else grace)
    options = WaitingOptions(timing, rounds, batch, update, preset, quick, real_time)
    bench_waiting(options, as_json=as_json)


@app.command()
def learn(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="hands, four methods, one seed, 256 labels: a few minutes."),
    ] = False,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Tasks. Default: all six; with --quick: hands."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Methods, each with optional settings and labels: "
            "hero,ddpo@2048,d3po:d3po.learning_rate=1e-3. list: print them all.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,...", help="Seeds, such as 0,1,2. Default: 3-7.")
    ] = None,
    labeller: Annotated[
        str, typer.Option(metavar="JUDGE", help="Labels: judge, judge:flip=0.1, judge:picky=green.")
    ] = "judge",
    labels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Labels of each run. Default: 512.")
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Labels between two scores. Default: 64.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Pictures a score. Default: 128.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a setting of all runs."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR|CSV", help="The study's folder, or with --report its table."),
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="Rows of the table to read. Default: full.")
    ] = None,
    only_report: Annotated[
        bool, typer.Option("--report", help="Run nothing; report the figures that exist.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Compare methods by success and number of labels.

    An interrupted study continues. Two processes on one folder share the runs.

    hero bench learn --quick

    hero bench learn --tasks hands --methods hero,ddpo@2048,d3po@2048 --out study
    """
    from hero_tui.commands.bench.bench_learn import Choice, bench_learn

    choice = Choice(
        quick, tasks, methods, seeds, labeller, labels, every, images, settings or [], out, study
    )
    bench_learn(choice, only_report=only_report, as_json=as_json)
