"""`hero config`: its commands and their options."""

from __future__ import annotations

import typer

from hero_tui.commands.shared_options import Json, ModelName, PresetName, SetAny, TaskName

app = typer.Typer(
    no_args_is_help=True, help="Print settings: values, sources, and the files they are read from."
)


@app.command("show")
def show(
    task: TaskName = None,
    model: ModelName = None,
    preset: PresetName = None,
    settings: SetAny = None,
    as_json: Json = False,
) -> None:
    """Print every setting of a new run: its value, where it comes from, what it is.

    \b
    hero config show
    hero config show --task hands --set sampler.steps=30 --json
    """
    from hero_tui.commands import show_config
    from hero_tui.commands.start_run import changes_of

    show_config.show(changes_of(settings or [], task=task, model=model, preset=preset), as_json)


@app.command("path")
def path(as_json: Json = False) -> None:
    """Print the paths of the settings files, the strongest last."""
    from hero_tui.commands import show_config

    show_config.path(as_json)
