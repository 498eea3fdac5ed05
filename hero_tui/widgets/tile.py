"""A tile.

A picture, and under it a caption of its own, so that marking never repaints the picture.
"""

from __future__ import annotations

from pathlib import Path

from rich.color import Color as RichColor
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from hero_tui.graphics.drawing import Box, Drawing
from hero_tui.look import Look
from hero_tui.widgets.still import Still

ROOMY_CAPTION = 10
"""Cells from which a caption has space around its letter."""


class Picture(Still):
    """A drawing on a plain ground; a dot in the middle until there is one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.wanted: tuple[Path, Box] | None = None
        self.drawing: Drawing | None = None
        self._strips: list[Strip] = []
        self._ground: RichColor | None = None

    def want(self, path: Path | None, box: Box) -> bool:
        """Declare which picture belongs here; False when nothing needs to be drawn for it."""
        wanted = None if path is None else (path, box)
        if wanted == self.wanted:
            return False
        self.wanted = wanted
        self.show(None)
        return wanted is not None

    def show(self, drawing: Drawing | None) -> None:
        """Replace the drawing and repaint, this widget only."""
        if drawing is not self.drawing:
            self.drawing, self._ground = drawing, None
            self.refresh()

    def render(self) -> Content:
        """The empty ground."""
        return Content("·")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Drawings go past Textual's style cache and filters.

        Those would tear escape sequences apart, and under NO_COLOR grey the pictures: their
        colours are what is judged, not decoration.
        """
        drawing = self.drawing
        if drawing is None or self.size != (drawing.box.columns, drawing.box.rows):
            return super().render_lines(crop)
        lines = self._lines(drawing)[crop.y : crop.bottom]
        if crop.column_span == (0, self.size.width):
            return lines
        return [line.crop(*crop.column_span) for line in lines]

    def _lines(self, drawing: Drawing) -> list[Strip]:
        ground = self.screen.background_colors[1].rich_color
        if self._ground != ground:
            self._ground = ground
            self._strips = [drawing.strip(y, self._ground) for y in range(drawing.box.rows)]
        return self._strips


class Caption(Still):
    """The tile's key and its mark."""

    def __init__(self) -> None:
        super().__init__(classes=Look.PENDING.style)
        self._key = ""
        self.look = Look.PENDING

    def show(self, key: str, look: Look, *, pointed: bool = False) -> None:
        """Replace key and mark, repainting this row only; `pointed`: the cursor is here."""
        if (key, look) == (self._key, self.look):
            return
        self._key = key
        self.set_class(pointed, "pointed")
        self.remove_class(self.look.style)
        self.look = look
        self.add_class(look.style)
        self.refresh()

    def render(self) -> Content:
        """Key, shape and word, in one style and one piece: this is what every mark sends."""
        roomy = self.size.width >= ROOMY_CAPTION
        key = f" {self._key} " if roomy else self._key
        return Content(f"{key} {self.look.words}".ljust(self.size.width))


class Tile(Still):
    """One place of the page.

    It knows its place; which picture is there is the screen's business.
    """

    class Chosen(Message):
        """The tile was clicked; `best` for the right button."""

        def __init__(self, place: int, best: bool) -> None:
            super().__init__()
            self.place = place
            self.best = best

    def __init__(self, place: int, box: Box) -> None:
        super().__init__()
        self._place = place
        self._box = box
        self.picture = Picture()
        self.caption = Caption()

    def compose(self) -> ComposeResult:
        """Picture above caption, both of a fixed size."""
        for widget, height in ((self.picture, self._box.rows), (self.caption, 1)):
            widget.styles.width, widget.styles.height = self._box.columns, height
            yield widget
        self.styles.width, self.styles.height = self._box.columns, self._box.rows + 1

    def on_click(self, event: Click) -> None:
        """A click is the tile's key; the right button its Shift."""
        self.post_message(self.Chosen(self._place, best=event.button == 3))
