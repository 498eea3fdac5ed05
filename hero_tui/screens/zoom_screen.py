"""One picture as large as the terminal allows."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen

from hero_engine.core.numbering import picture_name
from hero_tui.graphics.grid_geometry import square_box
from hero_tui.keyboard import keymap
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.static_widgets import StaticWidget
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import UploadQueue


class ZoomScreen(Screen[int], StaticWidget, inherit_bindings=False):
    """Shows a picture of the round; leaving gives the index of the picture shown last."""

    place = keymap.ZOOM

    def __init__(
        self,
        labelling_round: LabellingRound,
        uploads: UploadQueue,
        preferences: Preferences,
        image: int,
        cell: tuple[int, int],
    ) -> None:
        super().__init__()
        self._bindings = preferences.keymap.bindings(keymap.ZOOM)
        self.image = image
        self.advance = preferences.ui.zoom_advance
        self._keys = preferences.keymap
        self._labelling_round = labelling_round
        self._uploads = uploads
        self._cell = cell

    def compose(self) -> ComposeResult:
        """The picture, its mark, the keys."""
        with Container(id="zoom-area"):
            yield Picture(id="zoomed")
        yield TextLine(id="zoom-standing")
        yield KeyFooter(self._keys.footer(keymap.ZOOM), id="keys")

    def on_resize(self, event: Resize) -> None:
        """The picture takes all the room there is."""
        self.call_after_refresh(self.refresh_page)

    def action_next(self) -> None:
        """The next ready picture, around the end."""
        self._go(1)

    def action_previous(self) -> None:
        """The ready picture before, around the start."""
        self._go(-1)

    def action_zoom_good(self) -> None:
        """Good; without advance, also takes that back."""
        session = self._labelling_round.session
        if not self.advance:
            self._mark(session.toggle_good)
        else:
            self._mark(lambda image: session.mark_all([image], good=True))

    def action_zoom_bad(self) -> None:
        """Bad."""
        self._mark(self._labelling_round.session.say_bad)

    def action_zoom_best(self) -> None:
        """Best; without advance, also takes that back."""
        session = self._labelling_round.session
        self._mark(session.name_best if self.advance else session.toggle_best)

    def action_zoom_skip(self) -> None:
        """Leave it without a label, or take that back."""
        self._mark(self._labelling_round.session.toggle_skip)

    def action_advance(self) -> None:
        """Go on to the next picture after a verdict, or stay."""
        self.advance = not self.advance
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
        room = self.query_one("#zoom-area").content_size
        box = square_box(room.width, room.height, self._cell)
        picture.styles.width, picture.styles.height = box.columns, box.rows
        self._uploads.want(picture, self._labelling_round.pictures[self.image], box)
        style = self._labelling_round.style_of(self.image)
        standing = Content.assemble(
            (picture_name(self.image), "bold"),
            f" of {self._labelling_round.count}  ",
            (style.words or "not labelled", f"${style.colour}"),
        )
        way = "a verdict brings the next" if self.advance else "a verdict stays here"
        self.query_one("#zoom-standing", TextLine).show(standing, Content.assemble((way, "$quiet")))

    def _mark(self, change: Callable[[int], tuple[int, ...]]) -> None:
        """Give a verdict, and go on to the next ready picture where there is one."""
        if self._labelling_round.submitted:
            return
        change(self.image)
        later = [image for image in sorted(self._labelling_round.pictures) if image > self.image]
        if self.advance and later:
            self.image = later[0]
        self.refresh_page()

    def _go(self, step: int) -> None:
        ready = sorted(self._labelling_round.pictures)
        self.image = ready[(ready.index(self.image) + step) % len(ready)]
        self.refresh_page()
