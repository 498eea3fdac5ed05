"""How a round changes the model: one interface (`Update`).

`ddpo` is the paper's and `forward` the alternative; `d3po` and `sft` are there to be compared with.
"""

from typing import TYPE_CHECKING

from hero_engine.config.settings import Settings
from hero_engine.distributed.collectives import ALONE, Ranks
from hero_engine.updates.base import Experience, Memory, OnProgress, Update

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

__all__ = ["Experience", "Memory", "OnProgress", "Update", "make_update"]


def make_update(settings: Settings, model: "Model", ranks: Ranks = ALONE) -> Update:
    """The update that the settings name, with a fresh optimizer on the model's LoRA weights.

    ranks: the processes that make its steps together.
    """
    from hero_engine.updates.d3po import D3poUpdate
    from hero_engine.updates.ddpo import DdpoUpdate
    from hero_engine.updates.forward import ForwardUpdate
    from hero_engine.updates.sft import SftUpdate

    match settings.update:
        case "forward":
            return ForwardUpdate(settings.forward, model, ranks)
        case "d3po":
            return D3poUpdate(settings.d3po, settings.sampler, model, ranks)
        case "sft":
            return SftUpdate(settings.sft, model, ranks)
    return DdpoUpdate(settings.ddpo, settings.sampler, model, ranks)
