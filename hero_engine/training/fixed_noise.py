"""The same few noises in every round, to see what training changed.

Pictures of a run's own fixed noises, made with the weights a round starts from: those of round 0
are the base model's, and another set follows the last round. They have random streams of their own
and nothing is learned from them, so a run is the same with and without them. Imports no torch until
one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.storage.atomic_files import write_png

if TYPE_CHECKING:
    from hero_engine.storage.run_folder import RunDir
    from hero_engine.training.state import Learner


def same_noise_path(run: Path, round: int, index: int) -> Path:
    """Where such a picture is, or will be."""
    return run / "images" / "same" / f"r{round:03}" / f"{index:03}.png"


def same_noise_pictures(run: Path) -> dict[int, list[Path]]:
    """The pictures there are, by the round that starts with the weights that made them."""
    folders = sorted((run / "images" / "same").glob("r[0-9]*"))
    return {int(each.name[1:]): sorted(each.glob("[0-9]*.png")) for each in folders}


def make_same_noise_pictures(
    folder: RunDir, learner: Learner, round: int, at_once: int, check_stop: Callable[[], None]
) -> None:
    """Make those of a round, unless they are there; `check_stop` may raise between steps."""
    import torch

    from hero_engine.core.rng import generator
    from hero_engine.policy.sampler import sample

    settings = folder.settings
    paths = [same_noise_path(folder.path, round, i) for i in range(settings.fixed_noise_samples)]
    if all(path.exists() for path in paths):
        return
    for first in range(0, len(paths), at_once):
        rows = range(first, min(first + at_once, len(paths)))
        shape, seed = learner.model.latent_shape, settings.seed
        noises = [torch.randn(shape, generator=generator(seed, "same", 0, i)) for i in rows]
        batch = sample(
            learner.model,
            settings.prompt,
            torch.stack(noises),
            settings.sampler,
            seed=seed,
            round=1,
            first_index=first,
            on_step=lambda done, total: check_stop(),
            purpose="same",
        )
        pictures = learner.model.decode(batch.latents_B_C_H_W)
        for index, pixels in zip(rows, pictures, strict=True):
            write_png(paths[index], pixels)
