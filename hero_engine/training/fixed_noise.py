"""Fixed-noise samples: images from the same few noises in every round, to show what changed.

They are made with the weights that a round starts from, so those of round 0 are the base model's;
another set follows the last round. They have random streams of their own and nothing is learned
from them: a run is the same with and without them. Imports no torch until one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.storage.atomic_files import write_png

if TYPE_CHECKING:
    from hero_engine.storage.run_folder import RunDir
    from hero_engine.training.state import State
    from hero_engine.training.trainer import Trainer


def fixed_noise_path(run: Path, round: int, index: int) -> Path:
    """Path of a sample, whether it exists or not."""
    return run / "images" / "same" / f"r{round:03}" / f"{index:03}.png"


def fixed_noise_images(run: Path) -> dict[int, list[Path]]:
    """Existing samples, by the round that starts with the weights that made them."""
    folders = sorted((run / "images" / "same").glob("r[0-9]*"))
    return {int(each.name[1:]): sorted(each.glob("[0-9]*.png")) for each in folders}


def make_fixed_noise_images(
    folder: RunDir,
    trainer: Trainer,
    state: State,
    microbatch: int,
    raise_if_stopped: Callable[[], None],
) -> bool:
    """Make the samples of the state's round; False if there are none to make.

    raise_if_stopped: called between denoising steps.
    """
    from hero_engine.core.rng import generator
    from hero_engine.policy.sampler import SampleRequest, sample_batches

    settings = folder.settings
    paths = [
        fixed_noise_path(folder.path, state.round, i) for i in range(settings.fixed_noise_samples)
    ]
    if all(path.exists() for path in paths):
        return False
    trainer.model.load_lora_state(state.lora)
    randoms = [generator(settings.seed, "same", 0, image) for image in range(len(paths))]
    groups = trainer.groups(0, len(paths))
    noises = trainer.fresh_noises(randoms, groups)
    request = SampleRequest(
        settings.seed, 1, range(len(paths)), noises, purpose="same", groups=groups
    )
    batches = sample_batches(
        trainer.model,
        settings.plan.kinds,
        settings.sampler,
        request,
        microbatch,
        lambda done: raise_if_stopped(),
    )
    rest, drawn = iter(paths), trainer.drawn
    for batch in batches:
        pictures = drawn.decode(trainer.model, batch.latents_B_C_H_W, batch.groups)
        for pixels, group in zip(pictures, batch.group_ids.tolist(), strict=True):
            write_png(next(rest), drawn.own(trainer.model, pixels, group))
    return True
