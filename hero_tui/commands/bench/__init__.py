"""`hero bench`: measures hero on this machine. Each benchmark has a file of its own here.

A command goes below, with its options; what it does goes into its file, imported when called.
"""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Measure hero on this machine; the README quotes these.", no_args_is_help=True
)


@app.callback()
def bench() -> None:
    """Measure hero on this machine; the README quotes these."""
