"""What every process does of a round: its share of the pictures, and of an update's steps.

Rank 0 hands out, and gathers; `follower.py` takes up what it was handed. With one process nothing
is handed out, and its share is all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hero_engine.config.settings import Settings
from hero_engine.core.batch import Batch
from hero_engine.core.errors import ExitCode, HeroError, is_memory_short
from hero_engine.core.labels import Labels
from hero_engine.core.numbering import picture_name, round_name
from hero_engine.distributed.collectives import Message, Ranks, ShortElsewhere, named
from hero_engine.models.pipeline import Model
from hero_engine.policy.sampler import sample
from hero_engine.updates import Experience, Memory, Update

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
OnShare = Callable[[float], None]
"""Told the part of the share that is done, 0 to 1, after every denoising step; it may raise."""


@dataclass(frozen=True)
class Wanted:
    """Pictures of a round that are to be made, by their indices, in rising order.

    kept_steps_B_S: from `pick_training_steps`, for these pictures; None keeps no step.
    decoded: whether anybody will see them; else they come without pixels.
    """

    round: int
    images: tuple[int, ...]
    noises_B_C_H_W: Tensor
    kept_steps_B_S: Tensor | None
    decoded: bool = True

    def share(self, ranks: Ranks) -> Wanted:
        """This process's part of them."""
        return self.some(ranks.share(torch.arange(len(self.images))).tolist())

    def some(self, places: Sequence[int]) -> Wanted:
        """Those at these places of it."""
        kept, which = self.kept_steps_B_S, torch.tensor(places, dtype=torch.int64)
        return Wanted(
            self.round,
            tuple(self.images[place] for place in places),
            self.noises_B_C_H_W[which],
            None if kept is None else kept[which],
            self.decoded,
        )

    def pieces(self, at_once: int) -> Iterator[Wanted]:
        """At most so many at a time, each of pictures that follow one another."""
        begin = 0
        for end in range(1, len(self.images) + 1):
            gap = end == len(self.images) or self.images[end] != self.images[end - 1] + 1
            if gap or end - begin == at_once:
                yield self.some(range(begin, end))
                begin = end


def sample_share(
    model: Model, settings: Settings, wanted: Wanted, at_once: int, on_share: OnShare
) -> tuple[Batch, Pixels] | None:
    """Latents and pictures, so many at a time; None where nothing is wanted.

    HeroError, exit code 1, where the model gives numbers that are none.
    """
    parts, pictures, done = [], [], 0
    for piece in wanted.pieces(at_once):
        count, whole = len(piece.images), len(wanted.images)

        def on_step(
            step: int, steps: int, done: int = done, count: int = count, whole: int = whole
        ) -> None:
            on_share((done + count * step / steps) / whole)

        part = sample(
            model,
            settings.prompt,
            piece.noises_B_C_H_W,
            settings.sampler,
            seed=settings.seed,
            round=wanted.round,
            first_index=piece.images[0],
            kept_steps_B_S=piece.kept_steps_B_S,
            on_step=on_step,
        )
        _check(part, piece)
        parts.append(part)
        pictures.append(
            model.decode(part.latents_B_C_H_W) if wanted.decoded else np.zeros((count, 0), np.uint8)
        )
        done += count
    return (Batch.cat(parts), np.concatenate(pictures)) if parts else None


def sample_together(
    ranks: Ranks,
    model: Model,
    settings: Settings,
    wanted: Wanted,
    at_once: int,
    on_share: OnShare,
) -> tuple[Batch, Pixels]:
    """On rank 0: all that is wanted, in order. Raises what any process's share raises."""
    if ranks.alone:
        return _some(sample_share(model, settings, wanted, at_once, on_share))
    ranks.order(sample_order(model, wanted, at_once), answered=True)
    short: Exception | None = None
    own: tuple[Batch, Pixels] | None = None
    try:
        own = sample_share(model, settings, wanted.share(ranks), at_once, on_share)
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise
        short = error
    answers = [sample_from(answer) for answer in ranks.answers()]
    if short is not None:
        raise short
    made = [each for each in (own, *answers) if each is not None]
    return Batch.cat(part for part, _ in made), np.concatenate([pixels for _, pixels in made])


def sample_order(model: Model, wanted: Wanted, at_once: int) -> Message:
    """For the others to make their share of it, with the weights as they are here."""
    said = {
        "do": "sample",
        "round": wanted.round,
        "images": wanted.images,
        "decoded": wanted.decoded,
        "at_once": at_once,
    }
    tensors = {"noises": wanted.noises_B_C_H_W}
    if wanted.kept_steps_B_S is not None:
        tensors["kept"] = wanted.kept_steps_B_S
    return Message(said, {**tensors, **named("lora", model.lora_state())})


def sample_answer(ranks: Ranks, model: Model, settings: Settings, order: Message) -> Message:
    """On a follower: its share, or what went wrong with it."""
    wanted = Wanted(
        order.said["round"],
        tuple(order.said["images"]),
        order.tensors["noises"],
        order.tensors.get("kept"),
        order.said["decoded"],
    ).share(ranks)
    try:
        model.load_lora_state(order.part("lora"))
        made = sample_share(model, settings, wanted, order.said["at_once"], lambda done: None)
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


def update_order(model: Model, update: Update, experience: Experience) -> Message:
    """For the others to make the update's steps with this process."""
    said = {
        "do": "update",
        "minibatch": update.minibatch,
        "labels": asdict(experience.labels),
        "prompt": experience.prompt,
        "round": experience.round,
        "seed": experience.seed,
        "turn": experience.turn,
    }
    tensors = {
        **named("lora", model.lora_state()),
        **named("optimizer", update.state_dict()),
        **named("batch", experience.batch.tensors()),
        **named("memory", asdict(experience.memory)),
    }
    for name, each in (("rewards", experience.rewards_B), ("chances", experience.chances_B)):
        if each is not None:
            tensors[name] = each
    return Message(said, tensors | named("drawn_with", experience.drawn_with or {}))


def update_share(ranks: Ranks, model: Model, update: Update, order: Message) -> None:
    """On a follower: its share of every step. What it learns by that is rank 0's to keep."""
    said, labels = order.said, order.said["labels"]
    model.load_lora_state(order.part("lora"))
    update.load_state_dict(order.part("optimizer"))
    update.minibatch = said["minibatch"]
    experience = Experience(
        Batch.from_tensors(order.part("batch")),
        Labels(tuple(labels["good"]), labels["best"]),
        order.tensors.get("rewards"),
        said["prompt"],
        said["round"],
        said["seed"],
        Memory(**order.part("memory")),
        order.tensors.get("chances"),
        said["turn"],
        order.part("drawn_with") or None,
    )
    try:
        with ranks.together():
            update.step(experience)
    except (RuntimeError, MemoryError) as error:
        if not is_memory_short(error):
            raise


def _some(made: tuple[Batch, Pixels] | None) -> tuple[Batch, Pixels]:
    if made is None:
        raise ValueError("no picture is wanted")
    return made


def _check(part: Batch, piece: Wanted) -> None:
    finite = part.latents_B_C_H_W.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        image = piece.images[int((~finite).nonzero()[0])]
        raise HeroError(
            f"the model gave numbers that are none (NaN) for {picture_name(image)} of "
            f"{round_name(piece.round)}; the run stays at its last checkpoint: hero resume tries "
            "again, hero resume --from-round goes back further",
            exit_code=ExitCode.FAILED,
        )
