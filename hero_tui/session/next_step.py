"""What a person can do once a run is finished: the choices of the menu at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Deed = Literal["evaluate", "export", "more", "quit"]
Program = Literal["", "comfyui", "a1111", "diffusers"]


@dataclass(frozen=True)
class NextStep:
    """A choice. program: what the export is for. rounds: how many more."""

    deed: Deed
    program: Program = ""
    rounds: int = 0


@dataclass(frozen=True)
class Choice:
    """A row of the menu: what it says, and what it means."""

    text: str
    explanation: str
    step: NextStep


CHOICES = (
    Choice(
        "Evaluate",
        "How often the tuned and the base model succeed on the same noises.",
        NextStep("evaluate"),
    ),
    Choice(
        "Export for ComfyUI",
        "A LoRA file for the folder ComfyUI/models/loras.",
        NextStep("export", "comfyui"),
    ),
    Choice(
        "Export for A1111 or Forge",
        "A LoRA file for the folder models/Lora.",
        NextStep("export", "a1111"),
    ),
    Choice(
        "Export for diffusers",
        "A LoRA file for pipe.load_lora_weights.",
        NextStep("export", "diffusers"),
    ),
    Choice("1 more round", "Label and learn once more.", NextStep("more", rounds=1)),
    Choice("4 more rounds", "Label and learn four more times.", NextStep("more", rounds=4)),
    Choice("Quit", "The run is kept; hero resume --rounds 4 continues it.", NextStep("quit")),
)


NOT_EMBEDDED = " cannot open the embedded model."
"""What to say of programs that read the LoRA, but have no base model for it."""


def choices(model: str) -> tuple[Choice, ...]:
    """The rows of the menu for a run of this model."""
    return tuple(
        replace(each, explanation=_without_a_base(each.explanation))
        if cannot_open(each.step.program, model)
        else each
        for each in CHOICES
    )


def _without_a_base(explanation: str) -> str:
    return explanation.replace("A LoRA file for", "For").rstrip(".") + "; it" + NOT_EMBEDDED


def cannot_open(program: str | None, model: str) -> bool:
    """Whether a program reads LoRA files, but cannot open the model that this one is of."""
    return model == "embedded" and program in ("comfyui", "a1111")
