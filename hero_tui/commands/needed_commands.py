"""Builds the command that was typed and no other one: all of them take longer than a short command.

Typer reads the options of every command before it runs one. The help of `hero` itself shows the
commands' first sentences, so for it they are built without options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import typer

HELP = (["--help"], ["-h"])


def only_needed(app: typer.Typer, arguments: Sequence[str]) -> typer.Typer:
    """The app with the command or group that the arguments begin with; whole where none is."""
    if list(arguments) in HELP:
        return _with(
            app,
            [_without_options(each) for each in app.registered_commands],
            [_without_commands(each) for each in app.registered_groups],
        )
    commands = [each for each in app.registered_commands if _name(each) in arguments[:1]]
    groups = [each for each in app.registered_groups if each.name in arguments[:1]]
    return _with(app, commands, groups) if commands or groups else app


def _with(app: typer.Typer, commands: list[Any], groups: list[Any]) -> typer.Typer:
    part = copy(app)
    part.registered_commands, part.registered_groups = commands, groups
    return part


def _name(command: Any) -> str:
    return str(command.name or typer.main.get_command_name(command.callback.__name__))


def _without_options(command: Any) -> Any:
    short = copy(command)
    short.callback = _documented(command.callback)
    return short


def _without_commands(group: Any) -> Any:
    short = copy(group)
    short.typer_instance = _with(group.typer_instance, [], [])
    return short


def _documented(function: Callable[..., Any]) -> Callable[[], None]:
    """A function without parameters, with this one's name and docstring."""

    def stub() -> None: ...

    stub.__name__, stub.__doc__ = function.__name__, function.__doc__
    return stub
