"""How a round's labels change the LoRA weights.

Updates: `ddpo` (the paper's), `forward`, `d3po`, `sft`. `Update` is their interface;
`PolicyOptimizer` takes the optimizer steps, which are the same for all. `update_class` names them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, assert_never

from hero_engine.config.settings import Settings
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId, UpdateTask
from hero_engine.updates.network_calls import Call, RoundSize
from hero_engine.updates.policy_optimizer import Objective, OnProgress, PolicyOptimizer, Update

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

__all__ = [
    "Call",
    "Feedback",
    "NoSignal",
    "Objective",
    "OnProgress",
    "PolicyOptimizer",
    "PseudoLabelled",
    "RoundSize",
    "Update",
    "UpdateId",
    "UpdateTask",
    "make_update",
    "network_calls",
    "update_class",
]


def update_class(settings: Settings) -> type[Update[Any]]:
    """The update that the settings name."""
    match settings.update:
        case "forward":
            from hero_engine.updates.forward import ForwardUpdate

            return ForwardUpdate
        case "sft":
            from hero_engine.updates.sft import SftUpdate

            return SftUpdate
        case "d3po":
            from hero_engine.updates.d3po import D3poUpdate

            return D3poUpdate
        case "ddpo":
            from hero_engine.updates.ddpo import DdpoUpdate

            return DdpoUpdate
    assert_never(settings.update)


def make_update(settings: Settings, model: "Model") -> Update[Any]:
    """The update of a run."""
    return update_class(settings).of_run(settings, model)


def network_calls(settings: Settings, size: RoundSize) -> Iterator[Call]:
    """The calls of the network in a round's update, in order."""
    return update_class(settings).network_calls(settings, size)
