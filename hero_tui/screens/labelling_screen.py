"""The screen a person labels on: keys become marks, pages are committed, rounds handed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from textual.events import Key
from textual.timer import Timer

from hero_tui.keyboard import keymap
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.page_screen import PageScreen
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.labelling_rate import LabellingRate
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.tile import Tile
from hero_tui.widgets.upload_queue import UploadQueue

HELD_DOWN = 0.06
"""Seconds; Enter again sooner than this, with no mark in between, is a key held down, and must not
commit a page unseen."""

NOT_NOW = "This round was handed in; the model learns from it."
NOT_DRAWN = "That one is still being drawn."
NEXT_NOT_DRAWN = "The next pictures are being drawn."


class LabellingScreen(PageScreen, inherit_bindings=False):
    """Turns keys into marks on the labelling round.

    `submit` is called once the person has handed the round in.
    """

    def __init__(
        self,
        labelling_round: LabellingRound,
        uploads: UploadQueue,
        preferences: Preferences,
        cell: tuple[int, int],
        *,
        symbols: bool,
        submit: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(labelling_round, uploads, preferences.keymap, cell, symbols=symbols)
        self._bindings = self.keys.bindings(keymap.LETTERS)
        self._preferences = preferences
        self._submit = submit
        self._clock = clock
        self.rate = LabellingRate(clock)
        self.held_down = HELD_DOWN
        self.undo_seconds = preferences.ui.undo_seconds
        self._entered = float("-inf"), labelling_round.session.marks
        self._asked_for_best = False
        self._range_from: int | None = None
        self._last_mark: int | None = None
        self._waiting: Timer | None = None
        self._handed = labelling_round.session.marks

    # -- what the app tells --

    def show_round(self) -> None:
        """Another round is open: turn to its first page with something to label."""
        self._asked_for_best, self._range_from, self._last_mark = False, None, None
        self.reopen()
        self._notice, self.pages.here = "", 0
        self.rate.rest()
        self.lay_out()
        self.turn_to(self._next_open_page(0) or 0)

    def show_ready(self, indices: Sequence[int]) -> None:
        """Pictures came in, perhaps those that were asked for too early."""
        if self._notice in (NOT_DRAWN, NEXT_NOT_DRAWN):
            self._notice = ""
        super().show_ready(indices)

    def show_touched(self, images: Sequence[int]) -> None:
        """Marks changed elsewhere (undo, zoom): turn to the page of the first of them."""
        self._asked_for_best = False
        if images:
            self.pages.here = images[0]
        self.refresh_page()

    # -- keys --

    def on_key(self, event: Key) -> None:
        """Tile keys: the character marks good, its Shift marks best."""
        if self.cursor or event.character is None:
            return
        for place, key in enumerate(self.page_keys()):
            if event.character in (key, self.keys.tiles.shifted(key)):
                event.stop()
                self._tile_key(place, best=event.character != key)

    def on_tile_chosen(self, chosen: Tile.Chosen) -> None:
        """A tile was clicked."""
        self._tile_key(chosen.place, best=chosen.best)

    @property
    def place(self) -> str:
        """Which part of the keymap holds here."""
        return keymap.CURSOR if self.cursor else keymap.LETTERS

    def action_mode(self) -> None:
        """Letters for tiles, or a cursor."""
        self.cursor = not self.cursor
        self._bindings = self.keys.bindings(self.place)
        self._range_from = None
        self.query_one(KeyFooter).show(self.keys.footer(self.place))
        self.refresh_captions(self.images)

    def action_left(self) -> None:
        """Cursor to the picture before."""
        self._move(-1, 0)

    def action_right(self) -> None:
        """Cursor to the next picture."""
        self._move(1, 0)

    def action_up(self) -> None:
        """Cursor to the picture above."""
        self._move(0, -1)

    def action_down(self) -> None:
        """Cursor to the picture below."""
        self._move(0, 1)

    def action_mark_good(self) -> None:
        """Good, or take that back, for the picture under the cursor."""
        self._mark(self.pages.here, self.labelling_round.session.toggle_good)

    def action_mark_best(self) -> None:
        """Best, or take that back, for the picture under the cursor."""
        self._mark(self.pages.here, self.labelling_round.session.toggle_best)

    def action_skip(self) -> None:
        """Leave the current picture without a label, or take that back."""
        self._mark(self.pages.here, self.labelling_round.session.toggle_skip)

    def action_invert(self) -> None:
        """Good for not good, for every picture of the page."""
        self._change(self.labelling_round.ready(self.images), self.labelling_round.session.invert)

    def action_range(self) -> None:
        """Mark everything from the last mark to here as that was; by letters, the next one says
        where here is."""
        if self._last_mark is None:
            self.say("A range begins at the last mark, and there is none yet.")
        elif self.cursor:
            self._mark_range(self._last_mark)
        elif not self._refused():
            self._range_from = self._last_mark
            self.say("A range: the next letter is its end.")

    def action_zoom(self) -> None:
        """LabelStyle at the current picture, or the first of the page."""
        here = self.labelling_round.ready(self.images)
        if not here:
            self.say("No picture here yet.")
            return
        image = self.pages.here if self.pages.here in here else here[0]
        zoom = ZoomScreen(self.labelling_round, self._uploads, self._preferences, image, self.cell)
        self.app.push_screen(zoom, self._looked)

    def action_compare(self) -> None:
        """Find the best among the good, two at a time."""
        goods = self.labelling_round.session.marks.goods
        if len(goods) < 2:
            self.say("Comparing needs two good pictures or more.")
        elif not self._refused():
            compare = CompareScreen(self.labelling_round, self._uploads, self.keys, self.cell)
            self.app.push_screen(compare, self._looked)

    def action_next_page(self) -> None:
        """Page on, around the end."""
        self.turn_to(self.page + 1)

    def action_previous_page(self) -> None:
        """Page back, around the start."""
        self.turn_to(self.page - 1)

    def _looked(self, image: int | None) -> None:
        if self.labelling_round.session.marks != self._handed:
            self.reopen()
        self.show_touched([self.pages.here if image is None else image])

    def _move(self, columns: int, rows: int) -> None:
        before = self.pages.here
        self.pages.move(columns, rows)
        there, self.pages.here = self.pages.here, before
        self.go_to(there)

    # -- marks --

    def _tile_key(self, place: int, *, best: bool) -> None:
        image = self.pages.at(place)
        if image is None or self._refused():
            return
        start, self._range_from = self._range_from, None
        self.go_to(image)
        if start is not None:
            self._mark_range(start)
        else:
            session = self.labelling_round.session
            self._mark(image, session.toggle_best if best else session.toggle_good)

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
        self._asked_for_best, self._notice = False, ""
        self.refresh_captions(touched)

    def _refused(self) -> bool:
        if self.labelling_round.submitted:
            self.say(NOT_NOW)
        return self.labelling_round.submitted

    # -- pages and rounds --

    def action_commit(self) -> None:
        """Fix this page's labels, then the next page, or hand in the round."""
        self._commit(rest_bad=True)

    def action_skip_page(self) -> None:
        """The same, but what is unmarked stays without a label."""
        self._commit(rest_bad=False)

    def _commit(self, *, rest_bad: bool) -> None:
        now, (before, marks) = self._clock(), self._entered
        held = now - before < self.held_down and marks == self.labelling_round.session.marks
        if not held:
            self._commit_page(rest_bad=rest_bad)
        self._entered = now, self.labelling_round.session.marks

    def _commit_page(self, *, rest_bad: bool) -> None:
        if self._state.finished is not None:
            self.app.exit(0)
            return
        if self._refused():
            return
        open_images = self.labelling_round.open(self.images)
        if open_images and not self.labelling_round.session.commit(open_images, rest_bad=rest_bad):
            return
        if open_images:
            self._asked_for_best, self._last_mark, self._range_from = False, None, None
        self.rate.worked(len(open_images))
        self.per_minute = self.rate.per_minute
        if self.labelling_round.session.complete:
            self._hand_in()
        else:
            self._next_page_after_commit(bool(open_images))

    def _next_page_after_commit(self, committed: bool) -> None:
        page = self._next_open_page(self.page)
        if page is not None:
            self._notice = ""
            self.turn_to(page)
            return
        self._notice = "" if committed else self._notice
        self.refresh_page()
        self.say(NEXT_NOT_DRAWN)
        self.rate.rest()

    def _hand_in(self) -> None:
        self.refresh_page()
        if self.labelling_round.best_missing and not self._asked_for_best:
            self._asked_for_best = True
            self.say("Which is the best? Shift+letter names it; Enter takes the first good one.")
        elif self.undo_seconds and self._waiting is None:
            self._handed = self.labelling_round.session.marks
            self._waiting = self.set_timer(self.undo_seconds, self._close_unless_changed)
            self.say("Handed in. Enter starts learning at once, Ctrl+Z takes it back.")
        else:
            self.close_round()

    def close_round(self) -> None:
        """Hand the round in for good."""
        self.reopen()
        self.labelling_round.submit()
        if not self.labelling_round.submitted:
            return
        self.rate.rest()
        self._notice = ""
        self.refresh_page()
        self._submit()

    def _close_unless_changed(self) -> None:
        """The time to take it back is over; what changed meanwhile, in the zoom, did so."""
        if self.labelling_round.session.marks == self._handed:
            self.close_round()
        else:
            self.reopen()

    def reopen(self) -> None:
        """Take back a round that was handed in but not closed yet."""
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    @property
    def closing(self) -> bool:
        """Whether the round was handed in and can still be taken back."""
        return self._waiting is not None

    def _next_open_page(self, start: int) -> int | None:
        """The first page from `start` on, around the end, with a picture that waits for a label."""
        count = self.pages.pages
        order = [(start + step) % count for step in range(count)]
        return next((p for p in order if self.labelling_round.open(self.pages.images_of(p))), None)
