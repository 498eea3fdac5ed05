"""Runs the choice of the menu at the end of a run, after the app has closed."""

from __future__ import annotations

from collections.abc import Callable

from hero_engine.core.errors import ExitCode
from hero_engine.storage.run_folder import RunDir
from hero_tui.output_streams import talk
from hero_tui.session.next_step import NOT_EMBEDDED, NextStep, Program, cannot_open

JUDGED, BY_HAND = 64, 32
"""Pictures of each model, judged by the embedded judge or by the person."""

PLACES: dict[Program, str] = {
    "comfyui": "Copy it to ComfyUI/models/loras and load it with a LoraLoader node.",
    "a1111": "Copy it to the folder models/Lora of A1111 or Forge.",
    "diffusers": "Load it with pipe.load_lora_weights(FILE).",
}
"""Where a program's file goes."""


def after_run(run: RunDir, step: NextStep | None, more: Callable[[int], int]) -> int:
    """Do the step; returns the exit code. more: how many further rounds to label."""
    if step is None or step.deed == "quit":
        return ExitCode.DONE
    if step.deed == "more":
        return more(step.rounds)
    if step.deed == "export":
        export(run, step.program)
        return ExitCode.DONE
    return evaluate(run)


def export(run: RunDir, program: Program) -> None:
    """Write the run's LoRA for a program into the run's folder, and say where it goes."""
    from hero_engine.models.export import export_lora

    out = run.path / "export" / f"{run.path.name}-{program}.safetensors"
    export_lora(run, out, program=program or "diffusers")
    but = f" It{NOT_EMBEDDED}" if cannot_open(program, run.settings.model) else ""
    talk(f"wrote {out}. {PLACES[program]}{but}")


def evaluate(run: RunDir) -> int:
    """Compare the tuned model with its base: by the judge where one knows the task."""
    name = str(run.path)
    if run.task.judge is not None and run.settings.model == "embedded":
        from hero_tui.commands.judge_evaluation import score

        score(name, JUDGED, "fresh", prompt=None, as_json=False)
        return ExitCode.DONE
    from hero_tui.commands.human_evaluation import compare

    return compare(name, BY_HAND, "fresh", prompt=None, graphics=None, as_json=False)
