"""A tile.

A picture, and under it a caption of its own, so that marking never repaints the picture.
"""

from __future__ import annotations

from pathlib import Path

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.style import Style

from hero_tui.graphics.painter import Box, Drawing
from hero_tui.session.label_style import LabelStyle
from hero_tui.session.noise_tags import NoiseTag
from hero_tui.widgets.static_widgets import BlankWidget, StaticWidget

SHORTEST_PROMPT = 3
"""Cells that a part of a prompt needs to be shown."""
ROOMY_CAPTION = 10
"""Cells from which a caption has space around its letter."""


class Picture(BlankWidget):
    """A drawing on a plain ground; a dot in the middle until there is one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.wanted: tuple[Path, Box] | None = None
        self.drawing: Drawing | None = None

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
            self.drawing = drawing
            self.repaint()

    def forget_lines(self) -> None:
        """The terminal has lost what the lines draw by themselves: showing them repaints."""
        if self.drawing is not None and not self.drawing.upload:
            self.drawing = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """Drawings go past Textual's style cache and filters.

        Those would tear escape sequences apart, and under NO_COLOR grey the pictures: their
        colours are what is judged, not decoration.
        """
        drawing = self.drawing
        if drawing is None or self.size != (drawing.box.columns, drawing.box.rows):
            lines = self._empty()
        else:
            lines = drawing.strips(self.screen.background_colors[1].rich_color)
        lines = lines[crop.y : crop.bottom]
        if crop.column_span == (0, self.size.width):
            return lines
        return [line.crop(*crop.column_span) for line in lines]

    def _empty(self) -> list[Strip]:
        width, height = self.size
        lines = [self.line_of(" " * width)] * height
        if height:
            lines[(height - 1) // 2] = self.line_of("·".center(width))
        return lines


class Caption(StaticWidget):
    """The tile's key and its mark, in the style that the page has for it.

    A style sheet of its own would be gone through again for each of them, whenever a page turns.
    """

    def __init__(self) -> None:
        super().__init__()
        self._key = self._prompt = ""
        self.label_style, self.pointed = LabelStyle.PENDING, False
        self.tag, self.last = NoiseTag.NONE, False

    def show(
        self,
        key: str,
        label_style: LabelStyle,
        tag: NoiseTag = NoiseTag.NONE,
        *,
        pointed: bool = False,
        last: bool = False,
        prompt: str = "",
    ) -> None:
        """Replace key, mark and tag, repainting this row only.

        pointed: the cursor is here. last: it is the last tile, which zoom and skip mean. prompt:
        what tells the picture's prompt from the others of the run.
        """
        shown = (self._key, self.label_style, self.tag, self.pointed, self.last, self._prompt)
        if (key, label_style, tag, pointed, last, prompt) != shown:
            self._key, self.label_style, self.tag = key, label_style, tag
            self.pointed, self.last, self._prompt = pointed, last, prompt
            self.repaint()

    @property
    def text(self) -> str:
        """Key, shape and word at the left, prompt and tag as far as there is room for them."""
        width = self.size.width
        left = self._with_prompt(self._key_and_mark(width), width)
        room = width - cell_len(left) - 1
        tags = (self.tag.words, self.tag.sign)
        tag = next((each for each in tags if 0 < len(each) <= room), "")
        return set_cell_size(left, max(0, width - len(tag))) + tag

    def _key_and_mark(self, width: int) -> str:
        """As much of the mark as leaves room for the tag's sign."""
        key = f" {self._key} " if width >= ROOMY_CAPTION else self._key
        words, brief = self.label_style.words, self.label_style.brief
        forms = (f"{key} {words}".rstrip(), f"{key} {brief}".rstrip(), f"{key}{brief}")
        room = width - (2 if self.tag.sign else 0)
        return next((each for each in forms if len(each) <= room), forms[-1])

    def _with_prompt(self, left: str, width: int) -> str:
        """The caption's beginning with as much of the prompt as fits beside the tag's sign."""
        room = width - cell_len(left) - 1 - (2 if self.tag.sign else 0)
        if not self._prompt or room < SHORTEST_PROMPT:
            return left
        return f"{left} {set_cell_size(self._prompt, min(room, cell_len(self._prompt)))}"

    def render_lines(self, crop: Region) -> list[Strip]:
        """One style and one piece: this is what every mark sends."""
        return [self.line_of(self.text, self._style()).crop(*crop.column_span)] * crop.height

    def _style(self) -> Style | None:
        if self.repaint_group is None:
            return None
        style = self.repaint_group.get_visual_style(self.label_style.component)
        if self.pointed:
            return style + Style(bold=True, italic=False, reverse=True)
        return style + Style(underline=True) if self.last else style


class Tile(BlankWidget):
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
