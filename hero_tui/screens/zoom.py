"""One picture as large as the terminal allows."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen

from hero_tui import keymap
from hero_tui.desk import Desk
from hero_tui.graphics.drawing import Box
from hero_tui.widgets.easel import Easel
from hero_tui.widgets.footer import KeyFooter
from hero_tui.widgets.line import Line
from hero_tui.widgets.still import Still
from hero_tui.widgets.tile import Picture


class ZoomScreen(Screen[int], Still, inherit_bindings=False):
    """Shows a picture of the round; leaving gives the index of the picture shown last."""

    BINDINGS = keymap.bindings(keymap.ZOOM)

    def __init__(self, desk: Desk, easel: Easel, image: int, cell: tuple[int, int]) -> None:
        super().__init__()
        self.image = image
        self._desk = desk
        self._easel = easel
        self._cell = cell

    def compose(self) -> ComposeResult:
        """The picture, its mark, the keys."""
        with Container(id="zoom-table"):
            yield Picture(id="zoomed")
        yield Line(id="zoom-standing")
        yield KeyFooter(keymap.footer(keymap.ZOOM), id="keys")

    def on_resize(self, event: Resize) -> None:
        """The picture takes all the room there is."""
        self.call_after_refresh(self.refresh_page)

    def action_next(self) -> None:
        """The next ready picture."""
        self._go(1)

    def action_previous(self) -> None:
        """The ready picture before."""
        self._go(-1)

    def action_zoom_good(self) -> None:
        """Good, or take that back."""
        if not self._desk.submitted:
            self._desk.session.toggle_good(self.image)
        self.refresh_page()

    def action_zoom_best(self) -> None:
        """Best, or take that back."""
        if not self._desk.submitted:
            self._desk.session.toggle_best(self.image)
        self.refresh_page()

    def action_leave(self) -> None:
        """Back to the page with this picture."""
        self.dismiss(self.image)

    def show_touched(self, images: tuple[int, ...]) -> None:
        """Undo or redo changed these: show the first."""
        self.image = images[0] if images else self.image
        self.refresh_page()

    def refresh_page(self) -> None:
        """Picture and mark."""
        picture = self.query_one("#zoomed", Picture)
        box = self._box()
        picture.styles.width, picture.styles.height = box.columns, box.rows
        self._easel.want(picture, self._desk.pictures[self.image], box)
        place = Content.assemble((f"picture {self.image + 1}", "bold"), f" of {self._desk.count}")
        look = self._desk.look(self.image)
        mark = Content.assemble((look.words or "not labelled", f"${look.colour}"))
        self.query_one("#zoom-standing", Line).show(place, mark)

    def _box(self) -> Box:
        room = self.query_one("#zoom-table").content_size
        whole = Box(max(1, room.width), max(1, room.height), self._cell)
        width, height = whole.fit((1, 1))
        return Box(max(1, width // self._cell[0]), max(1, height // self._cell[1]), self._cell)

    def _go(self, step: int) -> None:
        ready = sorted(self._desk.pictures)
        self.image = ready[(ready.index(self.image) + step) % len(ready)]
        self.refresh_page()
