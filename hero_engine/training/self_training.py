"""Images for self-training: sampled from the updated policy, with pseudo-labels (not in the paper).

Labels are expensive and images are cheap. Once the reward model tells good from bad, the policy can
also learn from images that nobody labelled, by the reward model's probabilities. The next round's
labels then judge the result, and correct the reward model where the policy learned to exploit it.

They are the round's further images: numbered after the labelled ones, all from fresh noise. Joint
self-training also has images of the frozen base, the same ones in every round.
"""

from __future__ import annotations

from torch import Tensor

from hero_engine.core.batch import Batch
from hero_engine.core.labelled_round import LabelledLatents
from hero_engine.core.rng import generator
from hero_engine.policy.sampler import OnImages, SampleRequest
from hero_engine.reward.reward_model import Evidence, PredictProbability
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer
from hero_engine.updates import PseudoLabelled, UpdateId
from hero_engine.updates.lessons import RankedImages


def pseudo_labelled(
    trainer: Trainer,
    state: State,
    update_id: UpdateId,
    predict: PredictProbability,
    microbatch: int,
    on_images: OnImages = lambda done: None,
) -> PseudoLabelled:
    """Images of the state's policy, sampled `microbatch` at a time, with predicted labels."""
    request = self_training_request(trainer, update_id)
    batch, _ = trainer.sample(state.lora, request, microbatch, on_images, decode=False)
    probability_B = trainer.processes.tensor_from_main(predict(batch))
    assert probability_B is not None
    return PseudoLabelled(batch, probability_B)


def self_training_request(trainer: Trainer, update_id: UpdateId) -> SampleRequest:
    """The images of self-training update 1, 2, ... of a round."""
    settings = trainer.settings
    count = settings.self_training.images
    first = settings.batch + (update_id.number - 1) * count
    images = range(first, first + count)
    randoms = [generator(update_id.seed, "noise", update_id.round, image) for image in images]
    kept, groups = (
        trainer.kept_steps(update_id.round, images),
        trainer.groups(update_id.round, count),
    )
    noises = trainer.fresh_noises(randoms, groups)
    return SampleRequest(update_id.seed, update_id.round, images, noises, kept, groups=groups)


def base_request(trainer: Trainer) -> SampleRequest:
    """The base's images of joint self-training: the same in every round, so numbered once a run."""
    settings = trainer.settings
    count = settings.self_training.base_images
    randoms = [generator(settings.seed, "base", 0, image) for image in range(count)]
    groups = trainer.groups(0, count)
    noises = trainer.fresh_noises(randoms, groups)
    return SampleRequest(settings.seed, 0, range(count), noises, purpose="base", groups=groups)


def ranked(trainer: Trainer, state: State, evidence: Evidence, batch: Batch) -> RankedImages | None:
    """Images with rank 0's features and probabilities, so that every process ranks them alike.

    None without labels.
    """
    predicted = trainer.reward_model.predicted_rewards(state.embedding, evidence, batch)
    probability_B = trainer.processes.tensor_from_main(predicted)
    if probability_B is None:
        return None
    features_B_F = main_features(trainer, batch.latents_B_C_H_W, batch.group_ids)
    return RankedImages(batch, features_B_F, probability_B)


def memory_features(trainer: Trainer, memory: LabelledLatents) -> Tensor:
    """Rank 0's features of the labelled images: (N, F) on the CPU."""
    return main_features(trainer, memory.latents_N_C_H_W, memory.group_ids)


def main_features(trainer: Trainer, latents_B_C_H_W: Tensor, group_B: Tensor) -> Tensor:
    """Rank 0's features of images: (B, F) on the CPU. They are kept for the next round."""
    features = trainer.reward_model.features(latents_B_C_H_W, group_B, cached=True)
    found = trainer.processes.tensor_from_main(features)
    assert found is not None
    return found
