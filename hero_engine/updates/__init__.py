"""How a round's labels change the LoRA weights.

Updates: `ddpo` (the paper's), `forward`, `d3po`, `sft`. `Update` is their interface;
`PolicyOptimizer` takes the optimizer steps, which are the same for all.
"""

from typing import TYPE_CHECKING, Any, assert_never

from hero_engine.config.settings import Settings
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId, UpdateTask
from hero_engine.updates.policy_optimizer import Objective, OnProgress, PolicyOptimizer, Update

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

__all__ = [
    "Feedback",
    "NoSignal",
    "Objective",
    "OnProgress",
    "PolicyOptimizer",
    "PseudoLabelled",
    "Update",
    "UpdateId",
    "UpdateTask",
    "make_update",
]


def make_update(settings: Settings, model: "Model") -> Update[Any]:
    """The update that the settings name."""
    from hero_engine.updates.d3po import D3poUpdate
    from hero_engine.updates.ddpo import DdpoUpdate
    from hero_engine.updates.denoising_policy import DenoisingPolicy
    from hero_engine.updates.forward import ForwardUpdate
    from hero_engine.updates.sft import SftUpdate

    match settings.update:
        case "forward":
            return ForwardUpdate(settings.forward, model, settings.plan.prompts)
        case "sft":
            return SftUpdate(settings.sft, model, settings.plan.prompts)
        case "d3po":
            policy = DenoisingPolicy(model, settings.sampler, settings.plan.prompts)
            return D3poUpdate(settings.d3po, policy)
        case "ddpo":
            policy = DenoisingPolicy(model, settings.sampler, settings.plan.prompts)
            return DdpoUpdate(settings.ddpo, policy)
    assert_never(settings.update)
