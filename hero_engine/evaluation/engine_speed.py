"""Speed of a round relative to its lower bound: the same network calls and nothing else.

The bound makes the same number of forward (and backward) passes with the same batches and
precision on random latents. The rest is overhead: schedules, random draws, log-probabilities,
losses, the optimizer. The engine and the bound are timed in turns, so that other load on the
machine slows both.
"""

from __future__ import annotations

import statistics
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
from hero_engine.core.labels import Labels
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import sample
from hero_engine.training.round_images import steps_to_keep
from hero_engine.training.state import Learner

Pixels = npt.NDArray[np.uint8]
Call = tuple[int, bool]
"""A network call: (rows, True if a backward pass follows)."""


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
    """A learner in its first round, with every other picture labelled good."""

    def __init__(self, settings: Settings, device: str = "auto") -> None:
        self.settings = settings
        self.learner = Learner.open(settings, device)
        self.model = self.learner.model
        self.batch = self._sampled()
        self.labels = Labels(tuple(i % 2 == 0 for i in range(settings.batch)), best=0)
        self.learner.remember(self.batch, self.labels)
        cuda = self.model.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self.model.device) if cuda else "cpu"
        self.threads = torch.get_num_threads()

    def sampling(self, turns: int) -> Timing:
        """Time sampling a round, with the steps kept that the update trains."""
        return self._timed(self._sampled, list(sampling_calls(self.settings)), turns)

    def update(self, turns: int) -> Timing:
        """Time the weight update. Each turn continues from the last one's weights."""
        rewards = torch.linspace(0, 1, self.settings.batch)
        given = self.learner.experience(self.batch, self.labels, rewards, 0)
        step = self.learner.update.step
        return self._timed(lambda: step(given), list(update_calls(self.settings)), turns)

    def embedding(self) -> float:
        """Seconds to train the embedding for one round."""
        contrast = self.learner.contrast(self.batch, self.labels)
        assert contrast is not None
        return timed(lambda: self.learner.train_embedding(contrast, 0, lambda done, total: None))

    def decoding(self) -> float:
        """Seconds to decode the round's latents."""
        return timed(self.pictures)

    def pictures(self) -> Pixels:
        """The round's pictures, uint8 (B, H, W, 3)."""
        pieces = torch.split(self.batch.latents_B_C_H_W, self.settings.microbatch)
        return np.concatenate([self.model.decode(each) for each in pieces])

    def _sampled(self) -> Batch:
        settings = self.settings
        noises = self.learner.prior.draw(
            settings.batch, self.model.latent_shape, settings.noise, settings.seed, 0
        )
        kept = steps_to_keep(self.learner, 0)
        return Batch.cat(
            sample(
                self.model, settings.prompt, noises[at : at + settings.microbatch],
                settings.sampler, seed=settings.seed, round=0, first_index=at,
                kept_steps_B_S=None if kept is None else kept[at : at + settings.microbatch],
            )
            for at in range(0, settings.batch, settings.microbatch)
        )  # fmt: skip

    def _timed(self, engine: Callable[[], object], calls: list[Call], turns: int) -> Timing:
        bare = BareNetwork(self.model, self.settings.prompt)
        bare.make(calls[:2])  # warm
        pairs = [(timed(engine), timed(lambda: bare.make(calls))) for _ in range(turns)]
        return Timing([a for a, _ in pairs], [b for _, b in pairs], sum(rows for rows, _ in calls))


class BareNetwork:
    """The network alone, on latents drawn before the clock starts.

    The LoRA takes part only in calls that train.
    """

    def __init__(self, model: Model, prompt: str) -> None:
        self.model, self.prompt = model, model.encode_prompt(prompt)
        self._inputs: dict[int, tuple[Tensor, Tensor]] = {}

    def make(self, calls: list[Call]) -> None:
        """Make these calls one after the other."""
        for rows, trained in calls:
            bare = nullcontext() if trained else self.model.base()
            with bare, torch.set_grad_enabled(trained):
                output = self._call(rows)
                if trained:
                    output.sum().backward()  # type: ignore[no-untyped-call]
        for weight in self.model.lora_parameters():
            weight.grad = None

    def _call(self, rows: int) -> Tensor:
        model, prompt = self.model, self.prompt.expand(rows)
        x_t, timesteps = self._input(rows)
        return model.family.denoise(
            model.network, x_t, timesteps, prompt.hidden_N_T_D, prompt.pooled_N_P,
            size=model.picture_size, guidance=1.0,
        )  # fmt: skip

    def _input(self, rows: int) -> tuple[Tensor, Tensor]:
        if rows not in self._inputs:
            model = self.model
            x_t = torch.randn(rows, *model.latent_shape).to(model.device, model.dtype)
            middle = model.process.timesteps_at(torch.full((rows,), 0.5))
            timesteps = middle.float() if middle.is_floating_point() else middle
            self._inputs[rows] = x_t, timesteps.to(model.device)
        return self._inputs[rows]


def sampling_calls(settings: Settings) -> Iterator[Call]:
    """The calls of sampling a round; guidance doubles the rows of each."""
    for at in range(0, settings.batch, settings.microbatch):
        rows = min(settings.microbatch, settings.batch - at)
        for _ in range(settings.sampler.steps):
            yield rows * _guided(settings), False


def update_calls(settings: Settings) -> Iterator[Call]:
    """The calls of a round's update.

    `ddpo` calls the network once for each kept step, `forward` twice for each row.
    """
    if settings.update == "forward":
        rows = settings.forward.good_images_per_update + settings.forward.bad_images_per_update
        for _ in range(settings.forward.steps):
            yield rows, False
            yield rows, True
        return
    ddpo = settings.ddpo
    groups = range(0, settings.batch, ddpo.images_per_update)
    for first in groups:
        pictures = min(ddpo.images_per_update, settings.batch - first)
        for at in range(0, pictures, ddpo.microbatch):
            images = min(ddpo.microbatch, pictures - at)
            yield images * ddpo.steps_per_image * _guided(settings), True


def _guided(settings: Settings) -> int:
    return 2 if settings.sampler.guidance > 1 else 1


def timed(work: Callable[[], object]) -> float:
    """Seconds of a call, until the device has finished."""
    _finish()
    begun = time.perf_counter()
    work()
    _finish()
    return time.perf_counter() - begun


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
