"""One picture as large as the terminal allows."""

from __future__ import annotations

import os
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content

from hero_engine.core.numbering import picture_name
from hero_tui.graphics.grid_geometry import picture_box
from hero_tui.keyboard import keymap
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.external_viewer import open_outside
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.run_state import RunState
from hero_tui.widgets.status_line import criterion
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import UploadQueue


class ZoomScreen(BaseScreen[int], inherit_bindings=False):
    """Shows a picture of the round; leaving gives the index of the picture shown last.

    name_of: names a picture, "q, page 1".
    """

    place = keymap.ZOOM

    def __init__(
        self,
        labelling_round: LabellingRound,
        uploads: UploadQueue,
        preferences: Preferences,
        image: int,
        cell: tuple[int, int],
        *,
        state: RunState,
        name_of: Callable[[int], str],
    ) -> None:
        super().__init__(preferences.keymap, state)
        self.image = image
        self.advance = preferences.ui.zoom_advance
        self._labelling_round = labelling_round
        self._uploads, self._viewer = uploads, preferences.ui.viewer
        self._cell = cell
        self._name_of = name_of

    def compose(self) -> ComposeResult:
        """The criterion, the picture, its mark, the keys."""
        yield from self.status_row()
        yield TextLine(id="zoom-criterion")
        with Horizontal(id="zoom-area"):
            if self._labelling_round.input_picture(self.image) is not None:
                yield Picture(id="zoom-input")
            yield Picture(id="zoomed")
        yield TextLine(id="zoom-standing")
        yield from self.key_row()

    def action_next(self) -> None:
        """Show the next ready picture, around the end."""
        self._go(1)

    def action_previous(self) -> None:
        """Show the previous ready picture, around the start."""
        self._go(-1)

    def action_zoom_good(self) -> None:
        """Mark good; without advance, also take that back."""
        session = self._labelling_round.session
        if not self.advance:
            self._mark(session.toggle_good)
        else:
            self._mark(lambda image: session.mark_all([image], good=True))

    def action_zoom_bad(self) -> None:
        """Mark bad."""
        self._mark(self._labelling_round.session.say_bad)

    def action_zoom_best(self) -> None:
        """Make it the best; without advance, also take that back."""
        session = self._labelling_round.session
        if self._labelling_round.best_wanted:
            self._mark(session.name_best if self.advance else session.toggle_best)

    def action_zoom_skip(self) -> None:
        """Leave it without a label, or take that back."""
        self._mark(self._labelling_round.session.toggle_skip)

    def action_view(self) -> None:
        """Open the picture in another program."""
        path = self._labelling_round.pictures[self.image]
        said = open_outside(path, self._viewer, os.environ)
        self.query_one("#zoom-criterion", TextLine).show(Content(said))

    def action_advance(self) -> None:
        """Show the next picture after a mark, or stay."""
        self.advance = not self.advance
        self.lay_out()

    def action_leave(self) -> None:
        """Back to the page with this picture."""
        self.dismiss(self.image)

    def show_touched(self, images: tuple[int, ...]) -> None:
        """Undo or redo changed these: show the first."""
        self.image = images[0] if images else self.image
        self.lay_out()

    def names_changed(self) -> None:
        """The picture's name may be another."""
        self.lay_out()

    def lay_out(self) -> None:
        """Show the picture as large as there is room, its name and its mark.

        The picture that an editing model changed is at its left, as large.
        """
        picture = self.query_one("#zoomed", Picture)
        room, beside = (
            self.query_one("#zoom-area").content_size,
            self._labelling_round.input_picture(self.image),
        )
        box = picture_box(
            room.width if beside is None else room.width // 2 - 1,
            room.height,
            self._cell,
            aspect=self._labelling_round.aspect_of(self.image) or 1.0,
            limit=self._uploads.limit,
        )
        picture.styles.width, picture.styles.height = box.columns, box.rows
        self._uploads.want(picture, self._labelling_round.pictures[self.image], box)
        if beside is not None:
            before = self.query_one("#zoom-input", Picture)
            before.styles.width, before.styles.height = box.columns, box.rows
            self._uploads.want(before, beside, box)
        prompt = self._labelling_round.prompt_of(self.image)
        self.query_one("#zoom-criterion", TextLine).show(criterion(self._state, prompt))
        style = self._labelling_round.style_of(self.image)
        kind = ""
        if self._labelling_round.guided:
            kind = self._labelling_round.kind_of(self.image).words
        standing = Content.assemble(
            (self._name_of(self.image), "bold"),
            f"  {picture_name(self.image)} of {self._labelling_round.count}  ",
            (style.words or "not labelled", f"${style.colour}"),
            (f"  {kind}", "$quiet"),
        )
        way = "a mark shows the next picture" if self.advance else "a mark stays here"
        self.query_one("#zoom-standing", TextLine).show(standing, Content.assemble((way, "$quiet")))

    def _mark(self, change: Callable[[int], tuple[int, ...]]) -> None:
        """Mark the picture, and show the next ready one where there is one."""
        if self._labelling_round.submitted:
            return
        change(self.image)
        ready = self._labelling_round.ready(self._labelling_round.order)
        later = ready[ready.index(self.image) + 1 :]
        if self.advance and later:
            self.image = later[0]
        self.lay_out()

    def _go(self, step: int) -> None:
        ready = self._labelling_round.ready(self._labelling_round.order)
        self.image = ready[(ready.index(self.image) + step) % len(ready)]
        self.lay_out()
