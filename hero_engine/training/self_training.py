"""Images for self-training: sampled from the updated policy, with pseudo-labels (not in the paper).

Labels are expensive and images are cheap. Once the reward model tells good from bad, the policy can
also learn from images that nobody labelled, by the reward model's probabilities. The next round's
labels then judge the result, and correct the reward model where the policy learned to exploit it.

They are the round's further images: numbered after the labelled ones, all from fresh noise.
"""

from __future__ import annotations

from hero_engine.core.rng import generator, normal_each
from hero_engine.policy.sampler import OnImages, SampleRequest
from hero_engine.reward.reward_model import PredictProbability
from hero_engine.training.state import State
from hero_engine.training.trainer import Trainer
from hero_engine.updates import PseudoLabelled, Turn


def pseudo_labelled(
    trainer: Trainer,
    state: State,
    turn: Turn,
    predict: PredictProbability,
    microbatch: int,
    on_images: OnImages = lambda done: None,
) -> PseudoLabelled:
    """Images of the state's policy, sampled `microbatch` at a time, with predicted labels."""
    request = self_training_request(trainer, turn)
    batch, _ = trainer.sample(state.lora, request, microbatch, on_images, decode=False)
    probability_B = trainer.processes.tensor_from_main(predict(batch))
    assert probability_B is not None
    return PseudoLabelled(batch, probability_B)


def self_training_request(trainer: Trainer, turn: Turn) -> SampleRequest:
    """The images of self-training update 1, 2, ... of a round."""
    settings = trainer.settings
    count = settings.self_training.images
    first = settings.batch + (turn.number - 1) * count
    images = range(first, first + count)
    randoms = [generator(turn.seed, "noise", turn.round, image) for image in images]
    noises = normal_each(randoms, trainer.model.latent_shape)
    kept, groups = trainer.kept_steps(turn.round, images), trainer.groups(turn.round, count)
    return SampleRequest(turn.seed, turn.round, images, noises, kept, groups=groups)
