"""Two pictures side by side: which one is better?"""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.events import Click

from hero_tui.graphics.grid_geometry import picture_box
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.pairwise_best import Tournament
from hero_tui.session.run_state import RunState
from hero_tui.widgets.status_line import success
from hero_tui.widgets.text_line import TextLine, fitting
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import UploadQueue


class CompareScreen(BaseScreen[int], inherit_bindings=False):
    """The best so far at the left, every other good picture in turn at the right.

    The best is recorded with every decision. Leaving gives its index. name_of: names a picture.
    only_raised: whether a click that comes now only raised the window.
    beside: a picture of the prompt whose good pictures are compared.
    """

    place = keymap.COMPARE

    def __init__(
        self,
        labelling_round: LabellingRound,
        uploads: UploadQueue,
        keys: Keymap,
        cell: tuple[int, int],
        *,
        state: RunState,
        name_of: Callable[[int], str],
        beside: int,
        only_raised: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(keys, state)
        marks, self._beside = labelling_round.session.marks, beside
        self.tournament = Tournament(marks.goods_beside(beside), marks.rival(beside))
        self._steps: list[bool] = []
        self._labelling_round, self._uploads, self._cell = labelling_round, uploads, cell
        self._name_of, self._only_raised = name_of, only_raised

    def compose(self) -> ComposeResult:
        """The question, two pictures with a caption each, the keys."""
        yield from self.status_row()
        yield TextLine(id="compare-title")
        with Horizontal(id="pair"):
            for side in ("left", "right"):
                with Container(classes="side"):
                    yield Picture(id=f"{side}-picture")
                    yield TextLine(id=f"{side}-caption")
        yield from self.key_row()

    def on_click(self, event: Click) -> None:
        """A click on a picture chooses it."""
        if isinstance(event.widget, Picture) and not self._only_raised():
            self._decide(replace=event.widget.id == "right-picture")

    def action_keep(self) -> None:
        """The best so far stays."""
        self._decide(replace=False)

    def action_replace(self) -> None:
        """The challenger is better."""
        self._decide(replace=True)

    def action_back(self) -> None:
        """Decide the last pair again."""
        if self.tournament.back() and self._steps.pop():
            self._labelling_round.session.undo()
        self.lay_out()

    def action_leave(self) -> None:
        """Back to the page that comparing was called from, with the best so far."""
        self.dismiss(self.tournament.best)

    def show_touched(self, images: tuple[int, ...]) -> None:
        """Undo or redo elsewhere: who is good may have changed, so begin again."""
        marks = self._labelling_round.session.marks
        goods = marks.goods_beside(self._beside)
        if len(goods) < 2:
            self.dismiss(images[0])
            return
        self.tournament, self._steps = Tournament(goods, marks.rival(self._beside)), []
        self.lay_out()

    def _decide(self, *, replace: bool) -> None:
        if self._labelling_round.submitted or self.tournament.challenger is None:
            self.action_leave()
            return
        self.tournament.decide(replace=replace)
        self._steps.append(bool(self._labelling_round.session.name_best(self.tournament.best)))
        if self.tournament.challenger is None:
            self.action_leave()
        else:
            self.lay_out()

    def names_changed(self) -> None:
        """The pictures' names may be others."""
        self.lay_out()

    def lay_out(self) -> None:
        """Pictures and captions."""
        here, total = self.tournament.decided + 1, len(self.tournament.challengers)
        question = Content.assemble(("Which is better?", "bold"), f"  pair {here} of {total}")
        rows = [(question, success(self._state)), (question, Content(""))]
        self.query_one("#compare-title", TextLine).show(*fitting(self.size.width - 2, rows))
        self._show("left", self.tournament.best, "★ best so far", "$warning")
        self._show("right", self.tournament.challenger, "● good", "$success")

    def _aspect(self, image: int | None) -> float:
        current = self._labelling_round
        return (None if image is None else current.aspect_of(image)) or current.aspect

    def _show(self, side: str, image: int | None, words: str, colour: str) -> None:
        picture = self.query_one(f"#{side}-picture", Picture)
        room = self.query_one("#pair").content_size
        box = picture_box(
            room.width // 2 - 1,
            room.height - 1,
            self._cell,
            aspect=self._aspect(image),
            limit=self._uploads.limit,
        )
        picture.styles.width, picture.styles.height = box.columns, box.rows
        self._uploads.want(
            picture, None if image is None else self._labelling_round.pictures[image], box
        )
        number = "" if image is None else f"  {self._name_of(image)}"
        caption = Content.assemble((words, f"bold {colour}"), (number, "$quiet"))
        self.query_one(f"#{side}-caption", TextLine).show(caption)
