"""The embedded model: a tiny latent diffusion model in Stable Diffusion's component layout.

drawing/           draws the pictures it was trained on
training_scripts/  trained the weights, with their logs (not in the wheel)
judge.py           labels and scores pictures in place of a person
weights/           fp16 safetensors
"""

from pathlib import Path


def weights_dir() -> Path:
    """Folder of the embedded pipeline, for diffusers' `from_pretrained`."""
    return Path(__file__).parent / "weights" / "model"


def judges_dir() -> Path:
    """Folder of the judges' weights."""
    return Path(__file__).parent / "weights" / "judges"
