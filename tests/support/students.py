"""Teach an update by hand, without a loop: feedback in, metrics out."""

from typing import Any

from torch import Tensor

from hero_engine.config.settings import SamplerSettings
from hero_engine.config.update_settings import D3poSettings, DdpoSettings
from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents, LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.updates import (
    Feedback,
    NoSignal,
    OnProgress,
    PolicyOptimizer,
    PseudoLabelled,
    UpdateId,
    UpdateTask,
)
from hero_engine.updates.d3po import D3poUpdate
from hero_engine.updates.ddpo import DdpoUpdate
from hero_engine.updates.denoising_policy import DenoisingPolicy


def feedback_on(
    batch: Batch,
    good: tuple[bool | None, ...] | list[bool | None] | None = None,
    rewards_B: Tensor | None = None,
    *,
    round: int = 0,
    before: LabelledLatents | None = None,
) -> Feedback:
    """A labelled round, unlabelled by default; `before`: what earlier rounds labelled."""
    labels = Labels((None,) * len(batch) if good is None else tuple(good))
    labelled = LabelledRound(round, batch, labels)
    memory = labelled.known if before is None else before.plus(labelled.known)
    return Feedback(labelled, memory, rewards_B)


def numbers_as_latents(latents: Tensor) -> Batch:
    """A batch of these final latents, from noises of zero."""
    return Batch(latents.new_zeros(latents.shape), latents)


class Student(PolicyOptimizer):
    """An update with its optimizer, prompt "a", seed 0."""

    def __init__(self, update: Any) -> None:
        super().__init__(update, "a")
        self.model = update.model

    def why_not(self, feedback: Feedback) -> str:
        """Why there is nothing to learn; empty if there is something."""
        lesson = self.update.lesson(feedback)
        return lesson.reason if isinstance(lesson, NoSignal) else ""

    def learn(
        self, feedback: Feedback | PseudoLabelled, on_progress: OnProgress = lambda *_: None
    ) -> dict[str, float]:
        """Learn from feedback."""
        if isinstance(feedback, PseudoLabelled):
            lesson, batch = self.update.pseudo_lesson(feedback), feedback.batch
            update_id = UpdateId(0, 0, 1)
        else:
            lesson, batch = self.update.lesson(feedback), feedback.round.batch
            update_id = UpdateId(0, feedback.round.number)
        assert not isinstance(lesson, NoSignal), lesson.reason
        return self.take(lesson, batch, update_id, on_progress)

    def take(
        self,
        lesson: Any,
        pictures: Batch,
        update_id: UpdateId | None = None,
        on_progress: OnProgress = lambda *_: None,
    ) -> dict[str, float]:
        """Take a lesson."""
        task = UpdateTask(lesson, update_id or UpdateId(0, 0), pictures)
        return self.step(task, None, on_progress)

    def gradients(self, feedback: Feedback) -> tuple[list[list[float]], dict[str, float]]:
        """The gradients of every optimizer step, which are not followed; and the metrics."""
        seen: list[list[float]] = []

        def record() -> float:
            seen.append([float(weight.grad) for weight in self.adam.weights])
            self.adam.clear()
            return 0.0

        self.adam.step = record  # type: ignore[method-assign]
        metrics = self.learn(feedback)
        return seen, metrics


def ddpo(settings: DdpoSettings, sampler: SamplerSettings, model: Any) -> Student:
    """One who learns by the policy gradient."""
    return Student(DdpoUpdate(settings, DenoisingPolicy(model, sampler, "a")))


def d3po(settings: D3poSettings, sampler: SamplerSettings, model: Any) -> Student:
    """One who learns from preferences."""
    return Student(D3poUpdate(settings, DenoisingPolicy(model, sampler, "a")))
