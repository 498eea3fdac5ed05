"""What `hero --help` says besides the commands, and the class that puts commands first."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from hero_engine.core.errors import ExitCode

SUMMARY = "Fine-tune a diffusion model from your labels, in the terminal."

EXAMPLES = {
    "hero run hands": "label from the keyboard",
    "hero resume": "continue the newest run",
    "hero run hands --headless --labels judge": "the same from a script",
    "hero eval RUN --images 384 --noise fresh": "compare with the base model",
    "hero export RUN --out hands.safetensors": "write the LoRA",
}

EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the engine or the app failed",
    ExitCode.USAGE: "wrong option, setting, task or labels file; or no terminal",
    ExitCode.ENVIRONMENT: "a model cannot be opened, or a folder cannot be written",
    ExitCode.RUN: "the run is missing, in use by another process, or damaged",
    ExitCode.LABELS: "the run waits for labels: hero label, then hero resume",
    ExitCode.RESUMABLE: "stopped before the end: continue with hero resume",
    ExitCode.INTERRUPTED: "interrupted by Ctrl+C",
}

VARIABLES = {
    "HERO_RUNS": "folder of runs (default: ~/.local/share/hero/runs)",
    "HERO_SAMPLER_STEPS": "any setting: sampler.steps of hero config show",
    "HERO_VIEWER": "program that shows a picture outside of the terminal",
    "HERO_DEBUG=1": "print tracebacks",
}


def columns(rows: dict[Any, str]) -> str:
    """Two aligned columns, indented. The first line, \\b, keeps click from joining the lines."""
    width = max(len(str(name)) for name in rows)
    return "\b\n" + "\n".join(f"  {name!s:<{width}}  {text}" for name, text in rows.items())


def codes(rows: dict[ExitCode, str]) -> dict[str, str]:
    """Exit codes as they are aligned in the help."""
    return {f"{int(code):>3}": text for code, text in rows.items()}


HELP = f"{SUMMARY}\n\n{columns(EXAMPLES)}"
EPILOG = (
    f"Environment:\n\n{columns(VARIABLES)}\n\n"
    f"Exit codes, the same in every command:\n\n{columns(codes(EXIT_CODES))}"
)


class Quick:
    """A command whose flags of click's own (--help, completion) are False when they are not given.

    To convert None typer imports pydantic, which takes longer than most commands.
    """

    FLAGS = frozenset({"help", "install_completion", "show_completion"})

    def get_params(self, ctx: Any) -> Any:
        """Every parameter of the command."""
        found = super().get_params(ctx)  # type: ignore[misc]
        for each in found:
            if each.name in self.FLAGS and each.default is None:
                each.default = False
        return found


class QuickCommand(Quick, TyperCommand):
    """A command of `hero`."""


class CommandsFirst(Quick, TyperGroup):
    """A group whose help has the commands before the options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options: the reverse of click's order."""
        self.format_commands(ctx, formatter)
        records = [each.get_help_record(ctx) for each in self.get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record is not None])
