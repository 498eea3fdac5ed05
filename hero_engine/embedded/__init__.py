"""The embedded model: a tiny latent diffusion model in Stable Diffusion's component layout.

drawing/           draws the pictures it was trained on
training_scripts/  trained the weights, with their logs (not in the wheel)
judge.py           labels and scores pictures in place of a person
weights/           fp16 safetensors
"""

from pathlib import Path

from hero_engine.core.errors import HeroError

SIDE = 64
"""Width and height of the pictures that the model draws and the judges know."""


def weights_dir() -> Path:
    """Folder of the embedded pipeline, for diffusers' `from_pretrained`."""
    return Path(__file__).parent / "weights" / "model"


def judges_dir() -> Path:
    """Folder of the judges' weights."""
    return Path(__file__).parent / "weights" / "judges"


def check_size(width: int, height: int) -> None:
    """HeroError for pictures of a size that no judge was trained on."""
    if (width, height) != (SIDE, SIDE):
        raise HeroError(
            f"the judge knows pictures of {SIDE}x{SIDE} pixels, not {width}x{height}: give labels "
            "with --labels FILE.jsonl, or a judge of your own"
        )
