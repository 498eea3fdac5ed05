"""What a person can do once a run is finished: the choices of the menu at the end."""

from __future__ import annotations

from dataclasses import dataclass
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
