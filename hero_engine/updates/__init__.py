"""How a round changes the model: one interface (`Update`), two implementations."""

from typing import TYPE_CHECKING

from hero_engine.config import Settings
from hero_engine.updates.common import Experience, Memory, OnProgress, Update

if TYPE_CHECKING:
    from hero_engine.pipeline import Model

__all__ = ["Experience", "Memory", "OnProgress", "Update", "make_update"]


def make_update(settings: Settings, model: "Model") -> Update:
    """The update that the settings name, with a fresh optimizer on the model's LoRA weights."""
    from hero_engine.updates.ddpo import DdpoUpdate
    from hero_engine.updates.forward import ForwardUpdate

    if settings.update == "forward":
        return ForwardUpdate(settings.forward, model)
    return DdpoUpdate(settings.ddpo, settings.sampler, model)
