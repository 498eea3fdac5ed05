"""Which pictures of the round are on the screen, and which one is current: pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from hero_tui.graphics.grid_geometry import Grid


class Pages:
    """The pages of a round's pictures on a grid. order: the pictures as they are shown.

    `here` is the current picture (marked last, or under the cursor); it is always on `page`, so
    another grid or another page never leaves it behind. None of it says what is marked.
    """

    def __init__(self, grid: Grid, order: Sequence[int], here: int | None = None) -> None:
        self.grid, self.order = grid, tuple(order)
        self._position = {image: position for position, image in enumerate(self.order)}
        self._at = self._position.get(-1 if here is None else here, 0)

    @property
    def count(self) -> int:
        """Pictures of the round."""
        return len(self.order)

    @property
    def here(self) -> int:
        """The current picture."""
        return self.order[self._at] if self.order else 0

    @here.setter
    def here(self, image: int) -> None:
        self._at = self._position.get(image, 0)

    @property
    def page(self) -> int:
        """The page on the screen."""
        return self.grid.page_of(self._at)

    @property
    def pages(self) -> int:
        """How many there are; at least one."""
        return self.grid.pages(self.count)

    @property
    def images(self) -> tuple[int, ...]:
        """The pictures on the screen."""
        return self.images_of(self.page)

    def images_of(self, page: int) -> tuple[int, ...]:
        """The pictures of a page."""
        places = self.grid.images(page, self.count)
        return self.order[places.start : places.stop]

    def place_of(self, image: int) -> tuple[int, int]:
        """The page that a picture is on, and its place there."""
        page, place = divmod(self._position[image], self.grid.tiles)
        return page, place

    def at(self, place: int) -> int | None:
        """The picture in a place of the screen; None if there is none."""
        images = self.images
        return images[place] if 0 <= place < len(images) else None

    def turn_to(self, page: int) -> None:
        """Put a page on the screen, around the ends; its first picture becomes the current one."""
        if page % self.pages != self.page:
            self._at = self.grid.images(page % self.pages, self.count).start

    def move(self, columns: int, rows: int) -> None:
        """Move the current picture, on to other pages where the grid ends; stay at the ends."""
        if rows:
            self._move_rows(rows)
        there = self._at + columns
        if 0 <= there < self.count:
            self._at = there

    def _move_rows(self, rows: int) -> None:
        """A row is the same column again: the next `grid.columns` pictures, in every page."""
        there = self._at + rows * self.grid.columns
        last_row = (self.count - 1) // self.grid.columns
        if there < 0 or there // self.grid.columns > last_row:
            return
        self._at = min(there, self.count - 1)

    def span(self, start: int) -> tuple[int, ...]:
        """The pictures from `start` to the current one, both included, as they are shown."""
        ends = self._position[start], self._at
        return self.order[min(ends) : max(ends) + 1]
