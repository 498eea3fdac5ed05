"""Widgets that are painted once when they are laid out."""

from __future__ import annotations

from functools import lru_cache
from typing import Self

from rich.segment import Segment
from rich.style import Style
from textual.color import TRANSPARENT
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.widget import Widget


class StaticWidget(Widget):
    """A widget that never scrolls, on a plain ground.

    Textual asks for a second layout when a widget learns its size, and paints all of it again
    whenever it is laid out: 35 KB for a page of tiles, three times. What moved is painted anyway.
    """

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        return super()._size_updated(size, virtual_size, container_size, layout=False)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """Paint again, or lay out again."""
        return super().refresh(
            *regions, repaint=repaint and not layout, layout=layout, recompose=recompose
        )

    @property
    def repaint_group(self) -> RepaintGroup | None:
        """The one around it, if any."""
        return next((each for each in self.ancestors if isinstance(each, RepaintGroup)), None)

    def repaint(self) -> None:
        """Paint all of it again, where it has another style and no other size.

        A `RepaintGroup` around it is notified instead: one message for a whole page.
        """
        group = self.repaint_group
        if group is None or not self.region:
            self.refresh()
        else:
            group.refresh(self.region.translate(-group.region.offset))

    def line_of(self, text: str, style: VisualStyle | None = None) -> Strip:
        """A line of this text, in the widget's own style or in another."""
        style = style or self.visual_style
        strip = _line(text, style.rich_style)
        for each in self.get_line_filters():
            strip = strip.apply_filter(each, style.background or TRANSPARENT)
        return strip


class BlankWidget(StaticWidget):
    """A StaticWidget that shows nothing but its background.

    Textual's way to render is made for borders, padding and scrolling. It takes a millisecond for
    every thirty lines of a widget, and a page of tiles is a hundred widgets, one upon the other.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        """The same blank line as often as is wanted."""
        return [self.line_of(" " * crop.width)] * crop.height


class RepaintGroup(BlankWidget):
    """A BlankWidget that repaints the StaticWidgets on it with one message."""


@lru_cache(512)
def _line(text: str, style: Style) -> Strip:
    return Strip([Segment(text, style)])
