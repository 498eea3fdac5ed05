"""Reading a run's pictures: PNG and nothing else, and none so large that it fills the memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.core.errors import Damaged, one_line

if TYPE_CHECKING:
    from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 8192 * 8192
"""A few kilobytes of PNG can unpack to gigabytes; no settings make larger pictures."""


def read_png(path: Path) -> Image.Image:
    """A picture in RGB. Damaged where the file is anything else than a PNG of a sensible size."""
    from PIL import Image

    try:
        width, height = png_size(path)
        if width * height > MAX_PIXELS:
            raise Damaged(f"{path} is not opened: {width} x {height} pixels are too many")
        with Image.open(path, formats=["PNG"]) as picture:
            rgb: Image.Image = picture.convert("RGB")
            return rgb
    except Damaged:
        raise
    except Exception as error:  # Pillow raises whatever the damage leads it to
        reason = getattr(error, "strerror", None) or one_line(error)
        raise Damaged(f"cannot read the picture {path}: {reason}") from error


def png_size(path: Path) -> tuple[int, int]:
    """Width and height, as its first bytes tell. ValueError where they are not a PNG's."""
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != SIGNATURE or head[12:16] != b"IHDR":
        raise ValueError("it is not a PNG")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
