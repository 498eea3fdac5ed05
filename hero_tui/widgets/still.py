"""Widgets that are painted once when they are laid out."""

from __future__ import annotations

from typing import Self

from textual.geometry import Region, Size
from textual.widget import Widget


class Still(Widget):
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
