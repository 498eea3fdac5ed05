"""What updates learn from: a labelled round, or images with pseudo-labels.

An update takes from it what it needs (`Update.lesson`): trajectories and rewards, pairs, a pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents, LabelledRound
from hero_engine.core.rng import Purpose, generator


@dataclass(frozen=True)
class RankedImages:
    """Unlabelled images of one policy, with what the reward model makes of them, on the CPU.

    features: (B, F). probability: of being good, (B,), in 0..1.
    """

    batch: Batch
    features_B_F: Tensor
    probability_B: Tensor


@dataclass(frozen=True)
class JointImages:
    """What a joint update learns from besides the labels: see `ranked_pool.py`.

    features_N_F: of the memory's images, on the CPU. novelty: exponent of the goods' weights.
    """

    features_N_F: Tensor
    images: Sequence[RankedImages]
    novelty: float


@dataclass(frozen=True)
class Feedback:
    """A labelled round, and what is known beyond it.

    memory: the labelled latents of all rounds, this one included. rewards_B: None where there is
    nothing to compare with; NaN for an image whose reward is unknown. behaviour_lora: the weights
    that sampled the images; None where they are the current ones. joint: unlabelled images to learn
    from in the same update; None for none.
    """

    round: LabelledRound
    memory: LabelledLatents
    rewards_B: Tensor | None = None
    behaviour_lora: Mapping[str, Tensor] | None = None
    joint: JointImages | None = None


@dataclass(frozen=True)
class PseudoLabelled:
    """Images of the current policy that nobody labelled.

    probability_B: of each image being good, in 0..1, as the reward model predicts it.
    """

    batch: Batch
    probability_B: Tensor


@dataclass(frozen=True)
class NoSignal:
    """Why an update has nothing to learn from, in words for the user."""

    reason: str


@dataclass(frozen=True)
class UpdateId:
    """Which update of a run this is; it names the update's random draws.

    number: 0 for the update on a round's labels, then 1, 2, ... for its self-training.
    """

    seed: int
    round: int
    number: int = 0

    def generator(self, purpose: Purpose, index: int) -> torch.Generator:
        """A generator at the start of its stream."""
        return generator(self.seed, purpose, self.round, index)


@dataclass(frozen=True)
class UpdateTask:
    """A lesson to learn. pictures: on whose latents the model's change is measured."""

    lesson: Any
    update_id: UpdateId
    pictures: Batch
