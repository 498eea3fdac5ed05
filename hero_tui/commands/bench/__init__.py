"""`hero bench`: measures hero on this machine. Each benchmark has a file of its own here.

A command goes below, with its options; what it does goes into its file, imported when called.
"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Measure hero on this machine; the README quotes these.", no_args_is_help=True
)


@app.callback()
def bench() -> None:
    """Measure hero on this machine; the README quotes these."""


@app.command("tui")
def tui(
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute instead of five: fewer keys and rounds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How soon keys are answered, what is sent, and what the app costs the engine.

    The real app on a terminal of its own, the real engine at work on the embedded model.
    """
    from hero_tui.commands.bench.tui import bench_tui

    bench_tui(quick=quick, as_json=as_json)
