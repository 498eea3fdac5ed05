"""What every process does of a round: its share of the pictures, and of an update's steps.

Rank 0 hands out, and gathers; `follower.py` takes up what it was handed. With one process nothing
is handed out, and its share is all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch, Trajectory
from hero_engine.core.errors import HeroError, is_memory_short
from hero_engine.distributed.collectives import Message, Ranks, ShortElsewhere, named
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import OnImages, SampleRequest, sample_batches
from hero_engine.updates import PolicyOptimizer, Turn, UpdateTask
from hero_engine.updates.d3po import PreferenceData
from hero_engine.updates.ddpo import RewardedTrajectories
from hero_engine.updates.label_pool import Pool

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class SampleJob:
    """Images to sample, `microbatch` at a time. decode: whether anybody will see them."""

    request: SampleRequest
    microbatch: int
    decode: bool = True

    def share(self, ranks: Ranks) -> SampleJob:
        """This process's part of it."""
        places = ranks.share(torch.arange(len(self.request)))
        return SampleJob(self.request.rows(places), self.microbatch, self.decode)


def sample_share(
    model: Model, settings: Settings, job: SampleJob, on_images: OnImages = lambda done: None
) -> tuple[Batch, Pixels] | None:
    """Latents and pixels; None where nothing is wanted."""
    batches, pictures = [], []
    for batch in sample_batches(
        model, settings.prompt, settings.sampler, job.request, job.microbatch, on_images
    ):
        batches.append(batch)
        empty = np.zeros((len(batch), 0), np.uint8)
        pictures.append(model.decode(batch.latents_B_C_H_W) if job.decode else empty)
    return (Batch.cat(batches), np.concatenate(pictures)) if batches else None


def sample_together(
    ranks: Ranks, model: Model, settings: Settings, job: SampleJob, on_images: OnImages
) -> tuple[Batch, Pixels]:
    """On rank 0: all of the job, in order. Raises what any process's share raises."""
    if ranks.alone:
        return _some(sample_share(model, settings, job, on_images))
    ranks.order(sample_order(model, job), answered=True)
    short: Exception | None = None
    own: tuple[Batch, Pixels] | None = None
    share = job.share(ranks)
    scale = len(job.request) / max(1, len(share.request))
    try:
        own = sample_share(model, settings, share, lambda done: on_images(done * scale))
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise
        short = error
    answers = [sample_from(answer) for answer in ranks.answers()]
    if short is not None:
        raise short
    made = [each for each in (own, *answers) if each is not None]
    return Batch.cat(part for part, _ in made), np.concatenate([pixels for _, pixels in made])


def sample_order(model: Model, job: SampleJob) -> Message:
    """For the others to make their share of it, with the weights as they are here."""
    request = job.request
    said = {
        "do": "sample",
        "seed": request.seed,
        "round": request.round,
        "images": list(request.images),
        "decode": job.decode,
        "microbatch": job.microbatch,
    }
    tensors = {"noises": request.noises_B_C_H_W}
    if request.kept_steps_B_S is not None:
        tensors["kept"] = request.kept_steps_B_S
    return Message(said, {**tensors, **named("lora", model.lora_state())})


def sample_answer(ranks: Ranks, model: Model, settings: Settings, order: Message) -> Message:
    """On a follower: its share, or what went wrong with it."""
    said = order.said
    request = SampleRequest(
        said["seed"],
        said["round"],
        tuple(said["images"]),
        order.tensors["noises"],
        order.tensors.get("kept"),
    )
    job = SampleJob(request, said["microbatch"], said["decode"]).share(ranks)
    try:
        model.load_lora_state(order.part("lora"))
        made = sample_share(model, settings, job)
    except HeroError as error:
        return Message({"failed": error.message, "exit_code": error.exit_code})
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise
        return Message({"short": True})
    if made is None:
        return Message({})
    batch, pixels = made
    return Message({}, {"pixels": torch.from_numpy(pixels), **named("batch", batch.tensors())})


def sample_from(answer: Message) -> tuple[Batch, Pixels] | None:
    """What `sample_answer` gave; ShortElsewhere, HeroError where it went wrong."""
    if answer.said.get("short"):
        raise ShortElsewhere("out of memory in another process")
    if "failed" in answer.said:
        raise HeroError(answer.said["failed"], exit_code=answer.said["exit_code"])
    if not answer.tensors:
        return None
    return Batch.from_tensors(answer.part("batch")), answer.tensors["pixels"].numpy()


def update_order(
    model: Model, optimizer: PolicyOptimizer, task: UpdateTask, microbatch: int
) -> Message:
    """For the others to make the update's steps with this process."""
    lesson, turn = task.lesson, task.turn
    said: dict[str, Any] = {"do": "update", "microbatch": microbatch, "turn": asdict(turn)}
    tensors = {
        **named("lora", model.lora_state()),
        **named("optimizer", optimizer.state_dict()),
        "pictures": task.pictures_B_C_H_W,
    }
    if isinstance(lesson, Pool):
        said["assumed_negatives"] = lesson.assumed_negatives
        tensors |= {"latents": lesson.latents_N_C_H_W, "probability": lesson.probability_N}
        return Message(said, tensors)
    tensors |= named("trajectory", lesson.trajectory.tensors())
    if isinstance(lesson, PreferenceData):
        said |= {"goods": lesson.goods, "bads": lesson.bads}
        return Message(said, tensors)
    tensors["rewards"] = lesson.rewards_B
    return Message(said, tensors | named("behaviour", lesson.behaviour_lora or {}))


def lesson_from(order: Message) -> Any:
    """The lesson of an `update_order`."""
    said, tensors = order.said, order.tensors
    if "probability" in tensors:
        return Pool(tensors["latents"], tensors["probability"], said["assumed_negatives"])
    trajectory = Trajectory(**order.part("trajectory"))
    if "goods" in said:
        return PreferenceData(trajectory, tuple(said["goods"]), tuple(said["bads"]))
    return RewardedTrajectories(trajectory, tensors["rewards"], order.part("behaviour") or None)


def update_share(ranks: Ranks, model: Model, optimizer: PolicyOptimizer, order: Message) -> None:
    """On a follower: its share of every step. What it learns by that is rank 0's to keep."""
    model.load_lora_state(order.part("lora"))
    optimizer.load_state_dict(order.part("optimizer"))
    turn = Turn(**order.said["turn"])
    task = UpdateTask(lesson_from(order), turn, order.tensors["pictures"])
    try:
        with ranks.together():
            optimizer.step(task, order.said["microbatch"])
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise


def _some(made: tuple[Batch, Pixels] | None) -> tuple[Batch, Pixels]:
    if made is None:
        raise ValueError("no picture is wanted")
    return made
