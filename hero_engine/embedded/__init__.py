"""The embedded model: a tiny latent diffusion model in Stable Diffusion's component layout.

``drawing``   draws the pictures it was trained on;
``training``  holds the scripts that made the weights, with their logs;
``judge``     says whether a picture fulfils its task (labels and scores without a person);
``weights``   the files themselves, fp16 safetensors.
"""

from pathlib import Path


def weights_dir() -> Path:
    """Folder of the embedded pipeline, ready for diffusers' ``from_pretrained``."""
    return Path(__file__).parent / "weights" / "model"


def judges_dir() -> Path:
    """Folder of the judges' weights."""
    return Path(__file__).parent / "weights" / "judges"
