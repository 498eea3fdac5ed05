"""Pictures by iTerm2's inline images: iTerm2 and WezTerm.

https://iterm2.com/documentation-images.html
"""

from __future__ import annotations

from PIL import Image

from hero_tui.graphics.byte_budget import palette_png
from hero_tui.graphics.painter import Box, Drawing, blank, over_cells


class ItermPainter:
    """Blank cells, then the picture over them from the end of the last row, as with sixel."""

    name = "iterm"

    def paint(self, picture: Image.Image, box: Box) -> Drawing:
        """Encode the picture, never larger than it is: the terminal scales it to its cells."""
        width, height = box.fit(picture.size)
        columns, rows = -(-width // box.cell[0]), -(-height // box.cell[1])
        data = palette_png(picture, (width, height))
        place = f"inline=1;width={columns};height={rows};preserveAspectRatio=1"
        sent = f"\x1b]1337;File={place}:{data}\x07"
        empty = (blank(box.columns),)
        last = (*empty, over_cells(sent, box, (box.columns - columns) // 2))
        return Drawing(box, (*[empty] * (box.rows - 1), last))
