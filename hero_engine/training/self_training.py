"""Further updates of a round on pictures that nobody labels (not in the paper).

Labels are dear and pictures are cheap. Once the representation tells good from bad, the model can
draw more pictures, be told by the representation which of them are good, and learn from those as
from labelled ones. The next round's labels then judge what came of it, and correct the
representation where the model has learned to please it.

They are the round's further pictures: numbered on after the labelled ones, all from fresh noise.
"""

from __future__ import annotations

from hero_engine.core.labels import Labels
from hero_engine.core.rng import generator, normal_each
from hero_engine.distributed.sharding import OnShare, Wanted, sample_together
from hero_engine.policy.sampler import pick_training_steps
from hero_engine.reward.rewards import ChanceOfGood
from hero_engine.training.state import Learner
from hero_engine.updates import Experience


def unlabelled_experience(
    learner: Learner,
    chance: ChanceOfGood,
    round: int,
    turn: int,
    at_once: int,
    on_share: OnShare,
) -> Experience:
    """What the turn (1, 2, ...) of a round gives the update: pictures of the weights as they are.

    at_once: pictures sampled at a time.
    """
    settings = learner.settings
    first = settings.batch + (turn - 1) * settings.self_training.images
    wanted = _wanted(learner, round, first)
    batch, _ = sample_together(learner.ranks, learner.model, settings, wanted, at_once, on_share)
    chances_B = chance(learner.features(batch.latents_B_C_H_W)).float()
    return Experience(
        batch,
        Labels((None,) * len(batch)),
        chances_B,
        settings.prompt,
        round,
        settings.seed,
        learner.memory,
        chances_B,
        turn,
    )


def mean_chance(experience: Experience) -> float:
    """What the representation thinks of the pictures, in 0..1."""
    assert experience.chances_B is not None
    return float(experience.chances_B.mean())


def _wanted(learner: Learner, round: int, first: int) -> Wanted:
    settings, update, count = (
        learner.settings,
        learner.update,
        learner.settings.self_training.images,
    )
    images = range(first, first + count)
    randoms = [generator(settings.seed, "noise", round, image) for image in images]
    kept = None
    if update.steps_per_image:
        kept = pick_training_steps(
            learner.model, settings.sampler, update.steps_per_image, count,
            settings.seed, round, update.window, first,
        )  # fmt: skip
    noises = normal_each(randoms, learner.model.latent_shape)
    return Wanted(round, tuple(images), noises, kept, decoded=False)
