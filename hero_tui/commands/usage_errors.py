"""Messages for a wrong command line: what was typed, and what would be right."""

from __future__ import annotations

from typing import Any


def is_help(error: Any) -> bool:
    """Whether the message of an error of click is the help, for a command that needs another."""
    return type(error).__name__ == "NoArgsIsHelpError"


def usage_message(error: Any) -> str:
    """One line for an error of click."""
    message = str(error.format_message())
    option = getattr(error, "option_name", "")
    if type(error).__name__ == "NoSuchOption" and (names := settings_called(option)):
        return f"{error.message}. {instead(names)}"
    context = getattr(error, "ctx", None)
    return f"{message} See: {context.command_path} --help" if context else message


def settings_called(option: str) -> list[str]:
    """Settings whose last name is the option's: --steps is sampler.steps, forward.steps, ..."""
    from hero_engine.config.settings import setting_types  # only an error needs it

    name = option.lstrip("-").partition("=")[0].replace("-", "_")
    return [each for each in setting_types() if each in (name, name.replace("_", ".", 1))] or [
        each for each in setting_types() if each.rpartition(".")[2] == name
    ]


def instead(names: list[str]) -> str:
    """The option that gives the setting."""
    first, *others = names
    also = f" (or {', '.join(others)})" if others else ""
    return f"It is a setting: --set {first}=VALUE{also}"
