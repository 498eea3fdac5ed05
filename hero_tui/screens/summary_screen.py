"""After a round: how many were good before and now, the same noises side by side, what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from hero_engine.core.numbering import round_name
from hero_tui.graphics.grid_geometry import picture_box
from hero_tui.graphics.painter import Box
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.past_rounds import PastRound
from hero_tui.session.round_summary import RoundCounts, next_step, summary_rows, title, variety
from hero_tui.session.run_state import RunState
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import UploadQueue

HEAD = 15
"""Cells of a row's name."""

MOST_NOISES = 8


class SummaryScreen(BaseScreen[None], inherit_bindings=False):
    """The summary of the last finished round.

    counts: good pictures of the last two finished rounds. pictures: reads the rounds with pictures
    of the fixed noises; they are drawn last, and `show_fixed_noise` calls it again.
    """

    place = keymap.SUMMARY

    def __init__(
        self,
        counts: Sequence[RoundCounts],
        pictures: Callable[[], list[PastRound]],
        uploads: UploadQueue,
        keys: Keymap,
        cell: tuple[int, int],
        state: RunState,
    ) -> None:
        super().__init__(keys, state)
        self._counts, self._pictures = counts, pictures
        self._uploads, self._cell = uploads, cell
        self._shown: list[PastRound] = []

    def compose(self) -> ComposeResult:
        """Figures, the fixed noises before and now, what to do next."""
        yield from self.status_row()
        yield Static(self._figures(), id="summary-figures")
        yield Vertical(id="summary-pictures")
        yield Static(Content.styled(next_step(self._state), "bold"), id="summary-next")
        yield from self.key_row()

    def show_fixed_noise(self) -> None:
        """There are new fixed-noise samples."""
        if self.is_mounted:
            self.lay_out()

    def action_leave(self) -> None:
        """Go to the pictures."""
        self.dismiss()

    def _figures(self) -> Content:
        heading = Content.styled(title(self._state), "bold $accent")
        rows = [Content(row) for row in self._table()]
        different = variety(self._state.rounds)
        return Content("\n").join([heading, *rows, Content(different)])

    def _table(self) -> list[str]:
        before = round_name(self._counts[-2].round) if len(self._counts) > 1 else ""
        now = round_name(self._counts[-1].round)
        rows = [("good pictures", before, now), *summary_rows(self._counts)]
        width = 16 if before else 0
        return [f"  {kind:<16}{was:<{width}}{then}" for kind, was, then in rows]

    def _ends(self) -> list[PastRound]:
        """The untrained model's pictures of the fixed noises, and the newest weights'."""
        known = [each for each in self._pictures() if each.same]
        return [known[0], known[-1]] if len(known) > 1 else []

    @property
    def box(self) -> Box:
        """A picture's size."""
        room = self.query_one("#summary-pictures").content_size
        noises = max(1, min(MOST_NOISES, *(len(each.same) for each in self._shown)))
        return picture_box((room.width - HEAD) // noises - 1, (room.height - 1) // 2, self._cell)

    def lay_out(self) -> None:
        """The fixed noises before and now, one row each."""
        self._shown = self._ends()
        area = self.query_one("#summary-pictures")
        for picture in area.query(Picture):
            picture.want(None, Box(1, 1, self._cell))
        area.remove_children()
        if not self._shown:
            words = "The same noises, before and now, appear here once they are drawn."
            area.mount(Static(Content.styled(words, "$quiet")))
            return
        box = self.box
        area.mount(*(self._row(each, box) for each in self._shown))

    def _row(self, shown: PastRound, box: Box) -> Horizontal:
        head = TextLine(classes="gallery-head")
        after = f"after {round_name(shown.round - 1)}" if shown.round else "untrained"
        head.show(Content.styled(after, "$quiet"))
        head.styles.width = HEAD
        row = Horizontal(head, *(self._picture(path, box) for path in shown.same[:MOST_NOISES]))
        row.styles.height = box.rows
        row.styles.margin = (0, 0, 1, 0)
        return row

    def _picture(self, path: Path, box: Box) -> Picture:
        picture = Picture()
        picture.styles.width, picture.styles.height = box.columns, box.rows
        picture.styles.margin = (0, 1, 0, 0)
        self._uploads.want(picture, path, box)
        return picture
