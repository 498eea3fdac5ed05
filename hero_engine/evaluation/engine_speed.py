"""Speed of a round relative to its lower bound: the same network calls and nothing else.

The bound makes the same number of forward (and backward) passes with the same batches and
precision on random latents. The rest is overhead: schedules, random draws, log-probabilities,
losses, the optimizer. The engine and the bound are timed in turns, so that other load on the
machine slows both.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledRound
from hero_engine.core.labels import Labels
from hero_engine.models.conditioning import Conditioning
from hero_engine.models.footprint import Footprint, footprint
from hero_engine.models.known_configurations import is_configuration, known_configuration
from hero_engine.models.pipeline import Model
from hero_engine.models.pipeline_driver import NetworkCall
from hero_engine.policy.noise_prior import GroupPriors
from hero_engine.policy.sampler import sample_batches
from hero_engine.training.trainer import Trainer
from hero_engine.updates import Call, Feedback, NoSignal, UpdateId, UpdateTask, network_calls
from hero_engine.updates.network_calls import parts

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Timing:
    """Seconds of every turn: of the engine and of the bare calls. rows: network rows a turn."""

    engine: list[float]
    bare: list[float]
    rows: int

    @property
    def ratio(self) -> float:
        """Engine over bare calls: the median over turns."""
        return statistics.median(a / b for a, b in zip(self.engine, self.bare, strict=True))


class SpeedTest:
    """A first round in which every other picture is labelled good."""

    def __init__(self, settings: Settings, device: str = "auto") -> None:
        self.settings = settings
        self.trainer = Trainer.open(settings, device)
        self.model = self.trainer.model
        self.batch = self._sampled()
        labels = Labels(tuple(i % 2 == 0 for i in range(settings.batch)), bests=(0,))
        self.round = LabelledRound(0, self.batch, labels)
        self.state = self.trainer.initial_state().with_labels(self.round)
        cuda = self.model.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self.model.device) if cuda else "cpu"
        self.threads = torch.get_num_threads()

    def sampling(self, turns: int) -> Timing:
        """Time sampling a round; the steps that the update trains are kept."""
        return self._timed(self._sampled, list(sampling_calls(self.trainer)), turns)

    def update(self, turns: int) -> Timing:
        """Time the weight update. Each turn continues from the last one's weights."""
        task, step = half_good_task(self.trainer, self.round), self.trainer.optimizer.step
        return self._timed(lambda: step(task), list(update_calls(self.trainer)), turns)

    def embedding(self) -> float:
        """Seconds to train the embedding for one round."""
        trainer, state = self.trainer, self.state
        evidence = trainer.reward_model.evidence(self.round, state.memory, state.bests)
        triplets = trainer.reward_model.triplets(evidence)
        assert triplets is not None
        return timed(lambda: trainer.fit_embedding(state, triplets, 0, lambda done, total: None))

    def pictures(self) -> Pixels:
        """The round's pictures, uint8 (B, H, W, 3)."""
        pieces = torch.split(self.batch.latents_B_C_H_W, self.settings.microbatch)
        return np.concatenate([self.model.decode(each) for each in pieces])

    def peak_bytes(self) -> int:
        """Bytes that this process had at its peak: on a GPU as allocated there, else resident."""
        if self.model.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.model.device)
        return resident_bytes()

    def counted_bytes(self, found: Footprint, before: int) -> int:
        """The same by arithmetic; `before`: resident before the model was opened."""
        on_gpu = self.model.device.type == "cuda"
        precision = "fp32" if self.model.dtype == torch.float32 else "bf16"
        rows = max(call.rows for call in update_calls(self.trainer) if call.trained)
        checkpointed = bool(self.model.network.is_gradient_checkpointing)
        merged = 4 * found.targeted if precision == "fp32" else 0
        peak = max(
            found.updating(precision, rows, checkpointed=checkpointed),
            found.updating(precision, 0) + merged,
            found.decoding_peak(precision),
        )
        return round(peak if on_gpu else before + peak + self._laid_out_anew())

    def _laid_out_anew(self) -> int:
        """Bytes of the network's largest weight: a CPU's kernels copy it into their own layout."""
        return max(int(weight.nbytes) for weight in self.model.network.parameters())

    def _sampled(self) -> Batch:
        settings, request = self.settings, self.trainer.round_request(0, GroupPriors())
        return Batch.cat(
            sample_batches(
                self.model, settings.prompt, settings.sampler, request, settings.microbatch
            )
        )

    def _timed(self, engine: Callable[[], object], calls: list[Call], turns: int) -> Timing:
        bare = BareNetwork(self.model, self.settings.prompt)
        bare.make(calls[:1])  # warm
        pairs = [(timed(engine), timed(lambda: bare.make(calls))) for _ in range(turns)]
        return Timing(
            [a for a, _ in pairs], [b for _, b in pairs], sum(call.rows for call in calls)
        )


def counted(settings: Settings) -> Footprint | None:
    """What a configuration takes by arithmetic; None for a model with weights of its own."""
    if not is_configuration(settings.model):
        return None
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    size = max(settings.sampler.width, settings.sampler.height)
    return footprint(known_configuration(settings.model), size, settings.lora, dtype)


def resident_bytes() -> int:
    """Memory of this process at its peak so far."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found * (1 if sys.platform == "darwin" else 1024)


class BareNetwork:
    """The network alone, on latents drawn before the clock starts.

    The LoRA takes part only in calls that train.
    """

    def __init__(self, model: Model, prompt: str) -> None:
        self.model, self.conditioning = model, Conditioning(prompt)
        self._inputs: dict[int, NetworkCall] = {}

    def make(self, calls: list[Call]) -> None:
        """Make these calls in order."""
        for call in calls:
            bare = nullcontext() if call.trained else self.model.base()
            exact = self.model.in_float32() if call.float32 else nullcontext()
            with bare, exact, torch.set_grad_enabled(call.trained):
                output = self._call(call.rows)
                if call.trained:
                    output.sum().backward()  # type: ignore[no-untyped-call]
        for weight in self.model.lora_parameters():
            weight.grad = None

    def _call(self, rows: int) -> Tensor:
        if rows not in self._inputs:
            model = self.model
            x_t = torch.randn(rows, *model.latent_shape).to(model.device)
            middle = model.process.timesteps_at(torch.full((rows,), 0.5))
            self._inputs[rows] = model.network_call(x_t, middle, self.conditioning)
        return self._inputs[rows]()


def half_good_task(trainer: Trainer, round: LabelledRound) -> UpdateTask:
    """The update of a round whose rewards rise from 0 to 1."""
    feedback = Feedback(round, round.known, torch.linspace(0, 1, trainer.settings.batch))
    lesson = trainer.update.lesson(feedback)
    assert not isinstance(lesson, NoSignal), lesson.reason
    update_id = UpdateId(trainer.settings.seed, round.number)
    return UpdateTask(lesson, update_id, round.batch)


def sampling_calls(trainer: Trainer) -> Iterator[Call]:
    """The calls of sampling a round; guidance doubles the rows of each."""
    settings, size = trainer.settings, trainer.round_size
    for images in parts(size.images, settings.microbatch):
        for _ in range(settings.sampler.steps):
            yield Call(images * size.rows, trained=False)


def update_calls(trainer: Trainer) -> Iterator[Call]:
    """The calls of a round's update, without the two that measure its change."""
    return network_calls(trainer.settings, trainer.round_size)


def timed(work: Callable[[], object]) -> float:
    """Seconds of a call, waiting for the device to finish."""
    _finish()
    begun = time.perf_counter()
    work()
    _finish()
    return time.perf_counter() - begun


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
