"""Reading pictures that a person brings: PNG, JPEG or WebP, none so large that it fills memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.core.errors import HeroError, one_line
from hero_engine.core.sanitize import sanitized
from hero_engine.storage.atomic_files import write_png
from hero_engine.storage.png import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP")
INPUT = "input.png"
"""In a run's folder: a copy of the picture that an editing model changes, to be shown."""
INPUTS = "input*.png"
"""All of them."""


def input_path(run: Path, number: int = 0) -> Path:
    """The copy of the run's first, second, … picture to change."""
    return run / (f"input-{number:03}.png" if number else INPUT)


def keep_inputs(run: Path, pictures: Sequence[str]) -> None:
    """Copy the pictures into the run's folder, as PNGs."""
    import numpy as np

    for number, picture in enumerate(pictures):
        write_png(input_path(run, number), np.asarray(opened(Path(picture))))


def opened(path: Path) -> Image.Image:
    """The picture in RGB, upright, with its metadata in `info`.

    HeroError if it is not a picture of a known format, or too large.
    """
    from PIL import Image, ImageOps

    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture: Image.Image = Image.open(path, formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
            picture.load()  # a PNG may have its metadata behind its pixels
            metadata = dict(picture.info)
            upright = (ImageOps.exif_transpose(picture) or picture).convert("RGB")
    except Exception as error:  # Pillow raises whatever the damage leads it to
        reason = getattr(error, "strerror", None) or one_line(error)
        raise HeroError(f"cannot read the picture {path}: {sanitized(reason)}") from error
    upright.info = metadata
    return upright
