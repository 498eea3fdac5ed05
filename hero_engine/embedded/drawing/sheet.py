"""Finished drawings and contact sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from hero_engine.embedded.drawing.canvas import SIZE


@dataclass(frozen=True)
class Drawing:
    """A drawn picture, 64x64 RGB, and what it shows; `success` follows from `attributes`."""

    image: Image.Image
    caption: str
    task: str
    attributes: dict[str, str]
    success: bool


def contact_sheet(drawings: Sequence[Drawing], columns: int, captions: bool = False) -> Image.Image:
    """Drawings row by row at twice their size, with their captions if wanted.

    ValueError for no drawings or fewer than one column.
    """
    if not drawings or columns < 1:
        raise ValueError("a contact sheet needs at least one drawing and one column")
    side = 2 * SIZE
    high = side + (12 if captions else 0)
    sheet = Image.new("RGB", (columns * side, -(-len(drawings) // columns) * high), "white")
    pen = ImageDraw.Draw(sheet)
    for index, drawing in enumerate(drawings):
        x, y = (index % columns) * side, (index // columns) * high
        if captions:
            pen.text((x + 1, y + side), drawing.caption, fill="black")
        sheet.paste(drawing.image.resize((side, side), Image.Resampling.NEAREST), (x, y))
    return sheet
