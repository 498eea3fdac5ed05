"""Starting a run from someone's LoRA: the settings that fit its file, and a copy in the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from hero_engine.config.settings import Settings
from hero_engine.models.lora_files import FoundLora, read_lora
from hero_engine.models.pipeline_loading import bare_network
from hero_engine.storage.run_folder import RunDir


@dataclass(frozen=True)
class FirstLora:
    """A LoRA that a new run begins with; `settings` are the run's, with its rank and targets."""

    settings: Settings
    found: FoundLora

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read `settings.lora.init`. HeroError, 2, if it does not fit; 3 without its model."""
        path = Path(settings.lora.init).expanduser().absolute()
        found = read_lora(path, *bare_network(settings.model, settings.model_config))
        return cls(replace(settings, lora=replace(found.lora, init=str(path))), found)

    def sentence(self) -> str:
        """What was found in the file, in words."""
        lora, left_out = self.settings.lora, self.found.left_out
        rest = f"; {left_out} tensors of text encoders are left out" if left_out else ""
        return f"starting from {lora.init}: rank {lora.rank}, {', '.join(lora.targets)}{rest}"

    def save(self, run: RunDir) -> None:
        """Copy it into the run, which then does not need the file any more."""
        run.save_first_lora(self.found.state)
