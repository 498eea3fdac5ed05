"""What every update shares: what it learns from, its interface, its optimizer, its yardstick."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from hero_engine.config.settings import AdamWSettings
from hero_engine.core.batch import Batch
from hero_engine.core.labels import Labels
from hero_engine.core.rng import Purpose, generator
from hero_engine.distributed.collectives import ALONE, Ranks
from hero_engine.models.conditioning import Conditioning

if TYPE_CHECKING:
    from hero_engine.models.pipeline import Model

PROBES = 8
WHOLE = (0.0, 1.0)
"""All of the sampler's steps."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Memory:
    """Every labelled picture so far, this round's included: final latents, and which are good.

    latents_N_C_H_W: float, CPU. good_N: bool.
    """

    latents_N_C_H_W: Tensor
    good_N: Tensor

    @classmethod
    def of_round(cls, batch: Batch, labels: Labels) -> "Memory":
        """One round's labelled pictures; the unlabelled are left out."""
        known = [i for i, good in enumerate(labels.good) if good is not None]
        good = torch.tensor([bool(labels.good[i]) for i in known], dtype=torch.bool)
        return cls(batch.latents_B_C_H_W[known], good)

    def plus(self, other: "Memory") -> "Memory":
        """This memory with another one after it."""
        return Memory(
            torch.cat([self.latents_N_C_H_W, other.latents_N_C_H_W]),
            torch.cat([self.good_N, other.good_N]),
        )


@dataclass(frozen=True)
class Experience:
    """All that one round gives an update.

    rewards_B: None when there was nothing to compare with; NaN where a picture's is unknown.
    memory: all rounds' labelled pictures, this round's included. chances_B: of a batch that nobody
    labels, the chance that each is good, in 0..1; None for a labelled one. turn: 0 for the labelled
    batch, then 1, 2, ... for the round's unlabelled ones.
    drawn_with: the LoRA weights the pictures were drawn with; None for those at hand.
    """

    batch: Batch
    labels: Labels
    rewards_B: Tensor | None
    prompt: str
    round: int
    seed: int
    memory: Memory
    chances_B: Tensor | None = None
    turn: int = 0
    drawn_with: Mapping[str, Tensor] | None = None


class Update(Protocol):
    """One way to learn from a round."""

    name: str
    steps_per_image: int
    """Denoising steps to keep of each picture; 0 where none are needed."""
    window: tuple[float, float]
    """The part of the sampler's steps they come from, 0 the noisiest, 1 the last."""
    minibatch: int
    """Pictures a forward pass; bounds memory only."""

    def signal(self, experience: Experience) -> str:
        """Empty where there is something to learn from, else why not, in words for the user."""
        ...

    def step(
        self, experience: Experience, on_progress: OnProgress | None = None
    ) -> dict[str, float]:
        """Learn from one round; returns its metrics.

        on_progress(done, total) is called after every optimizer step and may raise to stop: model
        and optimizer then stand between two steps, and the caller restores its checkpoint.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The optimizer's state as flat CPU tensors (the LoRA weights are the model's state)."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        ...


class Optimizer:
    """AdamW on the model's LoRA weights, with a gradient norm limit and a flat state.

    ranks: the processes whose gradients a step adds up.
    """

    def __init__(
        self, weights: list[nn.Parameter], settings: AdamWSettings, ranks: Ranks = ALONE
    ) -> None:
        self.weights, self.max_grad_norm = weights, settings.max_grad_norm
        self.ranks = ranks
        self.adam = torch.optim.AdamW(
            weights,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            eps=settings.adam_epsilon,
        )

    def step(self) -> float:
        """One step on the gradients gathered since the last; returns their norm before clipping."""
        if not self.ranks.alone:
            self._add_up()
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, self.max_grad_norm))
        self.adam.step()
        self.clear()
        return norm

    def _add_up(self) -> None:
        """Everybody's gradients; none stays none where nobody has one."""
        weights = self.weights
        known = [float(weight.grad is not None) for weight in weights]
        has = torch.tensor(known, device=weights[0].device)
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in weights]
        self.ranks.add_up([has, *gradients])
        for weight, count, gradient in zip(weights, has.tolist(), gradients, strict=True):
            weight.grad = gradient if count else None

    def clear(self) -> None:
        """Forget gathered gradients, as after a stop halfway through gathering."""
        self.adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's moments and step counts, "adam.<weight>.<part>"; empty before the first step."""
        return {
            f"adam.{index}.{part}": value.detach().cpu().clone()
            for index, weight in enumerate(self.weights)
            for part, value in self.adam.state.get(weight, {}).items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave; weights without an entry start anew."""
        self.adam.state.clear()
        for key, value in state.items():
            _, index, part = key.split(".")
            weight = self.weights[int(index)]
            target = torch.device("cpu") if part == "step" else weight.device
            self.adam.state[weight][part] = value.to(target).clone()


class Probe:
    """How far an update moved the model: its outputs on the same few (x_t, t), before and after.

    8 of the round's final latents, noised to timesteps spread evenly over the schedule.
    """

    def __init__(self, model: "Model", experience: Experience) -> None:
        self.model, self.conditioning = model, Conditioning(experience.prompt)
        pictures = experience.batch.latents_B_C_H_W
        clean = pictures[torch.arange(PROBES) % len(pictures)].to(model.device)
        self.timesteps = model.process.timesteps_at((torch.arange(PROBES) + 0.5) / PROBES)
        self.x_t, _ = renoise(model, clean, self.timesteps, experience.seed, "probe", 0, 0)
        self.before = self._predict()

    def change(self) -> float:
        """|after - before| / |before| over all probes."""
        return float((self._predict() - self.before).norm() / self.before.norm())

    @torch.no_grad()
    def _predict(self) -> Tensor:
        return self.model.predict(self.x_t, self.timesteps, self.conditioning)


def renoise(
    model: "Model",
    clean_B_C_H_W: Tensor,
    timesteps_B: Tensor,
    seed: int,
    purpose: Purpose,
    round: int,
    index: int,
) -> tuple[Tensor, Tensor]:
    """(x_t, n): the pictures as the model's process noises them, n ~ N(0, I) by its generator."""
    random = generator(seed, purpose, round, index)
    noise = torch.randn(clean_B_C_H_W.shape, generator=random, dtype=clean_B_C_H_W.dtype)
    noise = noise.to(clean_B_C_H_W.device)
    return model.process.noised(clean_B_C_H_W, noise, timesteps_B), noise
