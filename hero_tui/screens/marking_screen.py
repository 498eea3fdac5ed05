"""Keys and clicks become marks on the page's pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from textual.events import Key

from hero_tui.keyboard import keymap
from hero_tui.keyboard.unknown_keys import NOT_HERE, said_of
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.page_screen import PageScreen
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.external_viewer import open_outside
from hero_tui.session.input_guards import Guards, RaisingClick
from hero_tui.session.label_style import LabelStyle
from hero_tui.session.labelling_rate import LabellingRate
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.tile import Tile
from hero_tui.widgets.upload_queue import UploadQueue

NO_PICTURES_KEY = "is the key of no picture here"
FINAL = "This round is submitted: its labels are final."
NOT_DRAWN = "This picture is still being drawn: nothing is marked."
NO_PICTURES = "No picture is here yet: keys mark nothing until the first ones come."
NO_SUGGESTION = "Nothing is suggested here: hero resume RUN --labels python:MODULE:FUNCTION asks."
NO_BEST = "In a blind comparison no picture is the best: mark the good ones."
RAISED = "That click only raised the window. Click again to mark."
FILTERS = {
    "good": (LabelStyle.GOOD, LabelStyle.BEST),
    "unmarked": (LabelStyle.OPEN,),
    "skipped": (LabelStyle.SKIPPED,),
}
"""What Ctrl+F shows, one after another."""


class MarkingScreen(PageScreen, inherit_bindings=False):
    """Turns keys and clicks into marks of the labelling round.

    A complete round that is not submitted yet is open again after a mark (`reopen`).
    """

    def __init__(
        self,
        labelling_round: LabellingRound,
        uploads: UploadQueue,
        preferences: Preferences,
        cell: tuple[int, int],
        *,
        symbols: bool,
        guards: Guards,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(labelling_round, uploads, preferences.keymap, cell, symbols=symbols)
        self._preferences = preferences
        self._guards, self._clock = guards, clock
        self.rate = LabellingRate(clock)
        self._range_from: int | None = None
        self._last_mark: int | None = None
        self.raising = RaisingClick(guards, clock)
        self._marks_when_complete = labelling_round.session.marks

    def reopen(self) -> None:
        """Do not submit the round, until it is complete again."""

    def show_touched(self, images: Sequence[int]) -> None:
        """Marks changed elsewhere (undo, zoom): turn to the page of the first of them."""
        if images:
            self.pages.here = images[0]
        self.refresh_page()

    def refresh_lines(self) -> None:
        """Whether it is the person's turn changes with every mark and commit."""
        self._state = replace(
            self._state,
            your_turn=self.labelling_round.has_unlabelled,
            per_minute=self.rate.per_minute,
        )
        super().refresh_lines()

    # -- keys --

    def on_key(self, event: Key) -> None:
        """Tile keys: the character marks good, its Shift marks best."""
        if self.cursor or event.character is None or not self.labelling_round.pictures:
            return
        for place, key in enumerate(self.page_keys()):
            if event.character in (key, self.keys.tiles.shifted(key)):
                event.stop()
                self._tile_key(place, best=event.character != key)
                return

    def unknown_key(self, event: Key) -> None:
        """A key that does nothing is the key of no picture."""
        if event.is_printable and not self.labelling_round.pictures:
            self.say(NO_PICTURES)
        elif said := said_of(event, self.keys, NOT_HERE if self.cursor else NO_PICTURES_KEY):
            self.say(said)

    def on_tile_chosen(self, chosen: Tile.Chosen) -> None:
        """A tile was clicked."""
        if self.raising.raised:
            self.say(RAISED)
        else:
            self._tile_key(chosen.place, best=chosen.best)

    def action_mode(self) -> None:
        """Switch between letters and a cursor."""
        self.cursor = not self.cursor
        self.place = keymap.CURSOR if self.cursor else keymap.LETTERS
        self._bindings = self.keys.bindings(self.place)
        self._range_from = None
        self.query_one(KeyFooter).show(self.keys.footer(self.place))
        self.refresh_captions(self.images)

    def action_left(self) -> None:
        """Move the cursor to the previous picture."""
        self._move(-1, 0)

    def action_right(self) -> None:
        """Move the cursor to the next picture."""
        self._move(1, 0)

    def action_up(self) -> None:
        """Move the cursor to the picture above."""
        self._move(0, -1)

    def action_down(self) -> None:
        """Move the cursor to the picture below."""
        self._move(0, 1)

    def action_mark_good(self) -> None:
        """Mark the picture under the cursor good, or take that back."""
        self._mark(self.pages.here, self.labelling_round.session.toggle_good)

    def action_mark_best(self) -> None:
        """Make the picture under the cursor the best, or take that back."""
        self._mark_best(self.pages.here)

    def action_skip(self) -> None:
        """Leave the current picture without a label, or take that back."""
        self._mark(self.pages.here, self.labelling_round.session.toggle_skip)

    def action_invert(self) -> None:
        """Invert the page's marks."""
        self._change(self.labelling_round.ready(self.images), self.labelling_round.session.invert)

    def action_suggested(self) -> None:
        """Mark the pictures of the page good that the judge suggests."""
        before = self.labelling_round.session.marks
        images = self.labelling_round.ready(self.images)
        self._change(images, self.labelling_round.take_suggestions)
        if self.labelling_round.session.marks == before and not self.labelling_round.submitted:
            self.say(NO_SUGGESTION)

    def action_range(self) -> None:
        """Apply the last mark to every tile from it to the cursor, or to the next letter."""
        if self._last_mark is None:
            self.say("A range begins at the last mark, and there is none yet.")
        elif self.cursor:
            self._mark_range(self._last_mark)
        elif not self._refused():
            self._range_from = self._last_mark
            self.say(f"Range from {self.name_of(self._last_mark)}: press the letter of its end.")

    def action_filter(self) -> None:
        """Show only the good pictures, then the unmarked, then the skipped ones, then all.

        Kinds without a picture are passed over.
        """
        kinds = [*FILTERS, ""]
        start = kinds.index(self._only_words) + 1 if self._only_words else 0
        self._range_from, self._last_mark = None, None
        for words in kinds[start:]:
            images = self._of_kind(words)
            if images:
                self.show_only(images, words)
                found = f"Only {words}: {len(images)}."
                self.tell(f"{found} {{filter}}: the next kind, {{commit}}: all.")
                return
        self.show_all()
        self.say("All pictures of the round.")

    def _of_kind(self, words: str) -> list[int]:
        styles = FILTERS.get(words, ())
        order = self.labelling_round.order
        return [image for image in order if self.labelling_round.style_of(image) in styles]

    def action_view(self) -> None:
        """Open the current picture in another program."""
        path = self.labelling_round.pictures.get(self.pages.here)
        if path is None:
            self.say("No picture here yet.")
        else:
            self.say(open_outside(path, self._preferences.ui.viewer, os.environ))

    def action_zoom(self) -> None:
        """Show the current picture, or the first of the page, as large as possible."""
        here = self.labelling_round.ready(self.images)
        if not here:
            self.say("No picture here yet.")
            return
        image = self.pages.here if self.pages.here in here else here[0]
        zoom = ZoomScreen(
            self.labelling_round,
            self._uploads,
            self._preferences,
            image,
            self.cell,
            state=self._state,
            name_of=self.name_of,
        )
        self.app.push_screen(zoom, self._zoomed)

    def action_compare(self) -> None:
        """Choose the best among the good, two at a time."""
        goods = self.labelling_round.session.marks.goods_beside(self.pages.here)
        if not self.labelling_round.best_wanted:
            self.say(NO_BEST)
        elif len(goods) < 2:
            self.say("Comparing needs two good pictures or more.")
        elif not self._refused():
            compare = CompareScreen(
                self.labelling_round,
                self._uploads,
                self.keys,
                self.cell,
                state=self._state,
                name_of=self.name_of,
                only_raised=lambda: self.raising.raised,
                beside=self.pages.here,
            )
            self.app.push_screen(compare, self._compared)

    def action_next_page(self) -> None:
        """Next page, around the end."""
        self.turn_to(self.page + 1)

    def action_previous_page(self) -> None:
        """Previous page, around the start."""
        self.turn_to(self.page - 1)

    def _zoomed(self, image: int | None) -> None:
        self._reopen_if_changed()
        self.show_touched([self.pages.here if image is None else image])

    def _compared(self, best: int | None) -> None:
        self._reopen_if_changed()
        self.refresh_page()
        if best is not None and best in self.labelling_round.session.marks.bests:
            self.say(f"Best: {self.name_of(best)}.")

    def _reopen_if_changed(self) -> None:
        if self.labelling_round.session.marks != self._marks_when_complete:
            self.reopen()

    def _move(self, columns: int, rows: int) -> None:
        before = self.pages.here
        self.pages.move(columns, rows)
        there, self.pages.here = self.pages.here, before
        self.go_to(there)

    # -- marks --

    def _tile_key(self, place: int, *, best: bool) -> None:
        image = self.pages.at(place)
        if image is None:
            self.say(f"{self.page_keys()[place]} has no picture on this page.")
            return
        if self._refused():
            return
        start, self._range_from = self._range_from, None
        self.go_to(image)
        if start is not None:
            self._mark_range(start)
        elif best:
            self._mark_best(image)
        else:
            self._mark(image, self.labelling_round.session.toggle_good)

    def _mark_best(self, image: int) -> None:
        """Make a picture the best; say so where another one was."""
        if not self.labelling_round.best_wanted:
            self.say(NO_BEST)
            return
        before = self.labelling_round.session.marks.rival(image)
        self._mark(image, self.labelling_round.session.toggle_best)
        now = self.labelling_round.session.marks.rival(image)
        if before is not None and now == image != before:
            self.tell(
                f"Best is {self.name_of(image)} now, no longer {self.name_of(before)}. "
                "{undo} takes it back; is Caps Lock on?"
            )

    def _mark(self, image: int, change: Callable[[int], tuple[int, ...]]) -> None:
        """Change one picture's mark, if it is there."""
        if image not in self.labelling_round.pictures:
            self.say(NOT_DRAWN)
        elif not self._refused():
            self._last_mark = image
            self._changed(change(image))

    def _mark_range(self, start: int) -> None:
        images = self.labelling_round.ready(self.pages.span(start))
        good = bool(self.labelling_round.session.label(start))
        self._change(images, lambda those: self.labelling_round.session.mark_all(those, good=good))

    def _change(
        self, images: Sequence[int], change: Callable[[Sequence[int]], tuple[int, ...]]
    ) -> None:
        if images and not self._refused():
            self._changed(change(images))

    def _changed(self, touched: Sequence[int]) -> None:
        if not touched:
            return
        self.rate.worked()
        self.reopen()
        self._notice = ""
        self.refresh_captions(touched)

    def _refused(self) -> bool:
        if self.labelling_round.submitted:
            self.say(FINAL)
        return self.labelling_round.submitted
