"""Which pictures of the round are on the screen, and which one is current: pure arithmetic."""

from __future__ import annotations

from hero_tui.graphics.grid_geometry import Grid


class Pages:
    """The pages of `count` pictures on a grid.

    `here` is the current picture (marked last, or under the cursor); it is always on `page`, so
    another grid or another page never leaves it behind. None of it says what is marked.
    """

    def __init__(self, grid: Grid, count: int, here: int = 0) -> None:
        self.grid, self.count = grid, count
        self.here = max(0, min(here, count - 1))

    @property
    def page(self) -> int:
        """The page on the screen."""
        return self.grid.page_of(self.here)

    @property
    def pages(self) -> int:
        """How many there are; at least one."""
        return self.grid.pages(self.count)

    @property
    def images(self) -> range:
        """The pictures on the screen."""
        return self.images_of(self.page)

    def images_of(self, page: int) -> range:
        """The pictures of a page."""
        return self.grid.images(page, self.count)

    def at(self, place: int) -> int | None:
        """The picture in a place of the screen; None where there is none."""
        images = self.images
        return images[place] if 0 <= place < len(images) else None

    def turn_to(self, page: int) -> None:
        """Put a page on the screen, around the ends; its first picture becomes the current one."""
        if page % self.pages != self.page:
            self.here = self.images_of(page % self.pages).start

    def move(self, columns: int, rows: int) -> None:
        """Move the current picture, on to other pages where the grid ends; stay at the ends."""
        if rows:
            self._move_rows(rows)
        there = self.here + columns
        if 0 <= there < self.count:
            self.here = there

    def _move_rows(self, rows: int) -> None:
        """A row is the same column again: the next `grid.columns` pictures, in every page."""
        there = self.here + rows * self.grid.columns
        last_row = (self.count - 1) // self.grid.columns
        if there < 0 or there // self.grid.columns > last_row:
            return
        self.here = min(there, self.count - 1)

    def span(self, start: int) -> range:
        """The pictures from `start` to the current one, both included, in rising order."""
        return range(min(start, self.here), max(start, self.here) + 1)
