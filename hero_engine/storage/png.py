"""Reading a run's images: PNG only, and none so large that it fills the memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hero_engine.core.errors import Damaged, one_line

if TYPE_CHECKING:
    from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 8192 * 8192
"""A few kilobytes of PNG can unpack to gigabytes; no setting allows larger images."""


def read_png(path: Path) -> Image.Image:
    """An image in RGB. Damaged if the file is not a PNG of at most MAX_PIXELS."""
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
        raise Damaged(f"cannot read the image {path}: {reason}") from error


def png_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's header. ValueError if it is not a PNG."""
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != SIGNATURE or head[12:16] != b"IHDR":
        raise ValueError("it is not a PNG")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
