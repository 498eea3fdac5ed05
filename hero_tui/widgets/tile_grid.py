"""The page of tiles.

A fixed grid for the terminal's size, filled with another page without moving.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.widget import Widget

from hero_tui.graphics.grid_geometry import Grid
from hero_tui.session.label_style import LabelStyle
from hero_tui.widgets.static_widgets import BlankWidget, RepaintGroup
from hero_tui.widgets.tile import Tile


class PictureArea(Container, BlankWidget):
    """Where the page lies."""


class Row(Horizontal, BlankWidget):
    """A row of tiles."""


class TileGrid(Vertical, RepaintGroup):
    """Tiles for one geometry; a resize makes another TileGrid."""

    COMPONENT_CLASSES = {style.component for style in LabelStyle}  # noqa: RUF012 - as Textual has it

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.tiles = [Tile(place, grid.box) for place in range(grid.tiles)]

    def compose(self) -> ComposeResult:
        """Rows of tiles."""
        self.styles.width = self.grid.width
        for number, row in enumerate(self._rows()):
            line = Row(*row)
            line.styles.margin = (self.grid.space if number else 0, 0, 0, 0)
            yield line

    async def mount_composed_widgets(self, widgets: list[Widget]) -> None:
        """Appear at once: the page is painted when it is whole, not again for each row mounted."""
        with self.app.batch_update():
            await super().mount_composed_widgets(widgets)

    def put_away(self) -> None:
        """Leave the screen; what is still being drawn for these tiles is not shown."""
        for tile in self.tiles:
            tile.picture.want(None, self.grid.box)
        self.remove()

    def _rows(self) -> Iterator[list[Tile]]:
        columns = self.grid.columns
        for start in range(0, len(self.tiles), columns):
            yield self.tiles[start : start + columns]
