"""Further updates of a round on pictures that nobody labels (not in the paper).

Labels are dear and pictures are cheap. Once the representation tells good from bad, the model can
draw more pictures, be told by the representation which of them are good, and learn from those as
from labelled ones. The next round's labels then judge what came of it, and correct the
representation where the model has learned to please it.

They are the round's further pictures: numbered on after the labelled ones, all from fresh noise.
"""

from __future__ import annotations

from collections.abc import Callable

from hero_engine.labels import Labels
from hero_engine.learner import Learner
from hero_engine.records import Batch
from hero_engine.reward import ChanceOfGood
from hero_engine.sampler import pick_training_steps, sample
from hero_engine.seeds import generator, normal_each
from hero_engine.updates import Experience

Piece = Callable[[int, int, int], Callable[[int, int], None]]
"""As `Meter.piece`: (offset, count, whole) to the callback of a piece of the whole."""


def unlabelled_experience(
    learner: Learner,
    chance: ChanceOfGood,
    round: int,
    turn: int,
    at_once: int,
    piece: Piece,
) -> Experience:
    """What the turn (1, 2, ...) of a round gives the update: pictures of the weights as they are.

    at_once: pictures sampled at a time.
    """
    settings, count = learner.settings, learner.settings.unlabelled.pictures
    first = settings.batch + (turn - 1) * count
    batch = Batch.cat(
        _drawn(learner, round, images, piece(images.start - first, len(images), count))
        for images in _pieces(first, count, at_once)
    )
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


def _drawn(
    learner: Learner, round: int, images: range, on_step: Callable[[int, int], None]
) -> Batch:
    settings, update = learner.settings, learner.update
    randoms = [generator(settings.seed, "noise", round, image) for image in images]
    kept = None
    if update.steps_per_image:
        kept = pick_training_steps(
            learner.model, settings.sampler, update.steps_per_image, len(images),
            settings.seed, round, update.window, images.start,
        )  # fmt: skip
    return sample(
        learner.model, settings.prompt, normal_each(randoms, learner.model.latent_shape),
        settings.sampler, seed=settings.seed, round=round, first_index=images.start,
        kept_steps_B_S=kept, on_step=on_step,
    )  # fmt: skip


def _pieces(first: int, count: int, at_once: int) -> list[range]:
    stop = first + count
    return [range(at, min(at + at_once, stop)) for at in range(first, stop, at_once)]
