"""AdamW on the LoRA weights, with a limit on the gradient norm and a flat state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hero_engine.config.update_settings import AdamWSettings
from hero_engine.core.collective import ONE_PROCESS, Collective

LAST_RATE = 0.1
"""What a decaying learning rate falls to in an update, as a share of the settings' value."""
WARM_UP = 5
"""Steps in which it rises before."""


class LoraAdamW:
    """The optimizer that all updates share. A step sums gradients over all processes."""

    def __init__(
        self,
        weights: list[nn.Parameter],
        settings: AdamWSettings,
        collective: Collective = ONE_PROCESS,
    ) -> None:
        self.weights, self.max_grad_norm = weights, settings.max_grad_norm
        self.settings = settings
        self.collective = collective
        self.adam = torch.optim.AdamW(
            weights,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            eps=settings.adam_epsilon,
        )

    def set_learning_rate(self, step: int, steps: int) -> None:
        """Set the rate for step 0, 1, ... of an update's `steps`."""
        rate = self.settings.learning_rate
        if self.settings.decay_learning_rate:
            rate *= min(1, (step + 1) / WARM_UP) * max(LAST_RATE, 1 - step / steps)
        for group in self.adam.param_groups:
            group["lr"] = rate

    def step(self) -> float:
        """Step on the accumulated gradients; returns their norm before clipping."""
        if self.collective.count > 1:
            self._reduce_gradients()
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, self.max_grad_norm))
        self.adam.step()
        self.clear()
        return norm

    def _reduce_gradients(self) -> None:
        """Sum gradients over processes; a weight that has none anywhere keeps none."""
        weights = self.weights
        known = [float(weight.grad is not None) for weight in weights]
        has = torch.tensor(known, device=weights[0].device)
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in weights]
        self.collective.all_reduce([has, *gradients])
        for weight, count, gradient in zip(weights, has.tolist(), gradients, strict=True):
            weight.grad = gradient if count else None

    def clear(self) -> None:
        """Forget accumulated gradients, such as those of a step that was interrupted."""
        self.adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments and step counts, "adam.<weight>.<part>"; empty before the first step."""
        return {
            f"adam.{index}.{part}": value.detach().cpu().clone()
            for index, weight in enumerate(self.weights)
            for part, value in self.adam.state.get(weight, {}).items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave; a weight without an entry starts fresh."""
        self.adam.state.clear()
        for key, value in state.items():
            _, index, part = key.split(".")
            weight = self.weights[int(index)]
            target = torch.device("cpu") if part == "step" else weight.device
            self.adam.state[weight][part] = value.to(target).clone()
