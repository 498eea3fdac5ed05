"""Single lines of text, and the small drawings that go into them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

BLOCKS = "▁▂▃▄▅▆▇█"


class TextLine(Widget):
    """One row with something at its left and something at its right.

    Showing something new repaints this row and lays nothing out, so no picture is ever sent again.
    """

    DEFAULT_CSS = "TextLine { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._left = self._right = Content("")

    def show(self, left: Content, right: Content | None = None) -> None:
        """Replace the text, repainting only when it differs."""
        right = right if right is not None else Content("")
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self.refresh()

    @property
    def text(self) -> str:
        """The plain text, as a test or a log wants it."""
        return f"{self._left.plain}  {self._right.plain}".strip()

    def render(self) -> Content:
        """The left part gives way when both do not fit."""
        width = self.content_size.width
        room = width - self._right.cell_length - (1 if self._right else 0)
        left = self._shortened(max(0, room))
        space = " " * max(0, width - left.cell_length - self._right.cell_length)
        return Content.assemble(left, space, self._right)

    def _shortened(self, room: int) -> Content:
        """The left part; where there is no room, as many whole words as fit, and an ellipsis."""
        if self._left.cell_length <= room:
            return self._left
        cut = self._left.truncate(max(0, room - 1))
        words = cut.plain.rfind(" ")
        return Content.assemble(cut[:words] if words > 0 else cut, "…") if room else Content("")


def fitting(width: int, rows: Sequence[tuple[Content, Content]]) -> tuple[Content, Content]:
    """The first of these rows whose two parts fit into `width` cells, else the last."""
    fits = (row for row in rows if row[0].cell_length + row[1].cell_length < width)
    return next(fits, rows[-1])


def progress_bar(done: int, total: int, width: int) -> Content:
    """A thin bar of `width` cells, with halves."""
    halves = round(2 * width * min(1.0, done / total)) if total else 0
    full, half = divmod(halves, 2)
    return Content.assemble(
        ("━" * full + ("╸" if half else ""), "$accent"),
        ("━" * (width - full - half), "$faint"),
    )


def sparkline(shares: Sequence[float | None]) -> str:
    """One block a round, height by its share in [0, 1]; a blank for a round without labels."""
    top = len(BLOCKS) - 1
    return "".join(" " if share is None else BLOCKS[round(share * top)] for share in shares)


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
