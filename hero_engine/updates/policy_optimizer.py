"""The optimizer steps of an update: rows sharded over processes, split into microbatches,
gradients accumulated and summed. What differs between updates is their `Objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.config.update_settings import AdamWSettings
from hero_engine.core.collective import ONE_PROCESS, Collective, Microbatches
from hero_engine.models.grouped_conditioning import Prompts
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import KeptSteps
from hero_engine.updates.adamw import LoraAdamW
from hero_engine.updates.lessons import Feedback, NoSignal, PseudoLabelled, UpdateId, UpdateTask
from hero_engine.updates.network_calls import Call, RoundSize
from hero_engine.updates.probe import Probe
from hero_engine.updates.weight_average import WeightAverage

OnProgress = Callable[[int, int], None]
"""Called with (done, total) after every optimizer step; it may raise, to stop between two steps."""


class Objective(Protocol):
    """What an update minimises, in `steps` optimizer steps."""

    steps: int

    def rows(self, step: int) -> Any:
        """The rows of an optimizer step: a tensor, or anything with a length and indices."""
        ...

    def loss(self, rows: Any) -> Tensor:
        """The mean loss of some of these rows; differentiable."""
        ...

    def metrics(self, collective: Collective) -> dict[str, float]:
        """The objective's own figures, after its steps; the same on every process."""
        ...


Lesson = TypeVar("Lesson")


class Update(Protocol[Lesson]):
    """One way to learn from labels.

    kept_steps: denoising steps of each image that it trains; `NO_STEPS` if it needs no trajectory.
    images_per_noise: images of a round that start from the same noise; 1: each has its own.
    microbatch: rows a forward pass to begin with; it bounds memory and changes no result.
    """

    name: str
    model: Model
    kept_steps: KeptSteps
    images_per_noise: int
    microbatch: int

    @classmethod
    def of_run(cls, settings: Settings, model: Model) -> Self:
        """The update of a run. HeroError, exit code 2, if the settings give it nothing to train."""
        ...

    @classmethod
    def network_calls(cls, settings: Settings, size: RoundSize) -> Iterator[Call]:
        """The calls of the network in a round's update, in order."""
        ...

    @property
    def settings(self) -> AdamWSettings:
        """The optimizer's settings, among others."""
        ...

    def lesson(self, feedback: Feedback) -> Lesson | NoSignal:
        """What this update takes from a labelled round. Does not use the model."""
        ...

    def pseudo_lesson(self, images: PseudoLabelled) -> Lesson | NoSignal:
        """What it takes from images with pseudo-labels. Does not use the model."""
        ...

    def objective(
        self, lesson: Lesson, update_id: UpdateId, microbatches: Microbatches
    ) -> Objective:
        """The objective of a lesson, for the weights that the model has now."""
        ...


class PolicyOptimizer:
    """Trains the model's LoRA weights on the lessons of an update."""

    def __init__(
        self, update: Update[Any], prompts: Prompts, collective: Collective = ONE_PROCESS
    ) -> None:
        self.update, self.prompts, self.collective = update, prompts, collective
        self.adam = LoraAdamW(update.model.lora_parameters(), update.settings, collective)

    def step(
        self,
        task: UpdateTask,
        microbatch: int | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> dict[str, float]:
        """Learn a lesson, `microbatch` rows a forward pass; returns its metrics.

        After an exception the weights are those between two optimizer steps: load a state again.
        """
        update = self.update
        probe = Probe(update.model, self.prompts, task.pictures, task.update_id.seed)
        microbatches = Microbatches(microbatch or update.microbatch, self.collective)
        objective = update.objective(task.lesson, task.update_id, microbatches)
        metrics = self._minimise(objective, microbatches, on_progress)
        return metrics | {"prediction_change": probe.change()}

    def _minimise(
        self, objective: Objective, microbatches: Microbatches, on_progress: OnProgress
    ) -> dict[str, float]:
        self.adam.clear()
        average = WeightAverage(self.adam.weights, self.update.settings.weight_average)
        loss, count, norms = 0.0, 0, list[float]()
        for step in range(objective.steps):
            rows = objective.rows(step)
            for part in microbatches.of(torch.arange(len(rows))):
                mean = objective.loss(rows[part])
                (mean * len(part) / len(rows)).backward()  # type: ignore[no-untyped-call]
                loss, count = loss + mean.item() * len(part), count + len(part)
            self.adam.set_learning_rate(step, objective.steps)
            norms.append(self.adam.step())
            average.follow()
            on_progress(step + 1, objective.steps)
        average.write()
        sums = torch.tensor([loss, count], dtype=torch.float64)
        self.collective.all_reduce([sums])
        return {
            "loss": float(sums[0] / sums[1]),
            "grad_norm": sum(norms) / len(norms),
            "optimizer_steps": float(objective.steps),
        } | objective.metrics(self.collective)

    def state_dict(self) -> dict[str, Tensor]:
        """The optimizer's state as flat CPU tensors (LoRA weights are the model's)."""
        return self.adam.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        self.adam.load_state_dict(state)
