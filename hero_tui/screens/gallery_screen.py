"""Past rounds: the best picture of each, and the pictures of the fixed noises in each."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from hero_tui.graphics.grid_geometry import picture_box
from hero_tui.graphics.painter import Box
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.past_rounds import PastRound, picture_of, rows_shown, window
from hero_tui.session.run_state import RunState
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import UploadQueue

READABLE_ROWS = 7
"""Rows of cells that a picture needs here at least."""

HEAD = 9
"""Cells of a row's name."""


class GalleryScreen(BaseScreen[None], inherit_bindings=False):
    """Columns are rounds; the first stays at the left, to compare with."""

    place = keymap.GALLERY

    def __init__(
        self,
        columns: list[PastRound],
        uploads: UploadQueue,
        keys: Keymap,
        cell: tuple[int, int],
        state: RunState,
    ) -> None:
        super().__init__(keys, state)
        self._columns, self._uploads, self._cell = columns, uploads, cell
        self._noises = max((len(column.same) for column in columns), default=0)
        self.back, self.noise = 0, 0

    def compose(self) -> ComposeResult:
        """A title, rows of pictures, the keys."""
        yield from self.status_row()
        yield TextLine(id="gallery-title")
        yield Vertical(id="gallery")
        yield from self.key_row()

    def action_back(self) -> None:
        """Earlier rounds."""
        self._turn(self.back + 1)

    def action_on(self) -> None:
        """Later rounds."""
        self._turn(self.back - 1)

    def action_next_noise(self) -> None:
        """The next of the same noises, around the end."""
        self.noise = (self.noise + 1) % max(1, self._noises)
        self.lay_out()

    def action_leave(self) -> None:
        """Back to where it was asked for."""
        self.dismiss()

    def _turn(self, back: int) -> None:
        hidden = len(self._columns) - len(self.shown)
        self.back = max(0, min(back, hidden))
        self.lay_out()

    @property
    def rows(self) -> list[int]:
        """Which rows there is room for: the best, and noises from the chosen one on."""
        room = self.query_one("#gallery").content_size.height
        count = rows_shown(room, self._noises, READABLE_ROWS) if self._noises else 1
        noises = [(self.noise + step) % max(1, self._noises) for step in range(count - 1)]
        return [0, *(1 + noise for noise in noises)]

    @property
    def box(self) -> Box:
        """A picture's size."""
        room = self.query_one("#gallery").content_size
        return picture_box(room.width - HEAD, room.height // len(self.rows) - 1, self._cell)

    @property
    def shown(self) -> list[PastRound]:
        """The rounds there is room for."""
        width = self.query_one("#gallery").content_size.width - HEAD
        room = max(1, width // (max(self.box.columns, 10) + 1))
        return [self._columns[i] for i in window(len(self._columns), room, self.back)]

    def lay_out(self) -> None:
        """Rebuild titles and pictures."""
        title = "The best picture of each round, and below it the same noises in every round"
        if not self._columns:
            title = "The gallery fills after the first round."
        self.query_one("#gallery-title", TextLine).show(Content.assemble((title, "bold $accent")))
        gallery = self.query_one("#gallery")
        for picture in gallery.query(Picture):
            picture.want(None, self.box)
        gallery.remove_children()
        if self._columns:
            gallery.mount(*(self._row(row, self.box) for row in self.rows))

    def _row(self, row: int, box: Box) -> Horizontal:
        head = TextLine(classes="gallery-head")
        head.show(Content.assemble(("★ best", "$warning") if row == 0 else f"noise {row}"))
        head.styles.width, head.styles.margin = HEAD, (1, 0, 0, 0)
        line = Horizontal(head, *(self._cell_of(column, row, box) for column in self.shown))
        line.styles.height = box.rows + 1
        return line

    def _cell_of(self, column: PastRound, row: int, box: Box) -> Vertical:
        """A picture under its round's title; titles stand over the first row only."""
        title, picture, path = TextLine(), Picture(), picture_of(column, row)
        title.show(Content.assemble((column.title if row == 0 else "", "$quiet")))
        picture.styles.width, picture.styles.height = box.columns, box.rows
        picture.set_class(path is None, "missing")
        self._uploads.want(picture, path, box)
        cell = Vertical(title, picture, classes="gallery-cell")
        cell.styles.width = max(box.columns, 10) + 1
        return cell
