"""The screen a person labels on: pages are committed, rounds are submitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from textual.timer import Timer

from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.screens.marking_screen import NO_PICTURES, NOT_DRAWN, MarkingScreen
from hero_tui.session.input_guards import Guards
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.pages import Pages
from hero_tui.widgets.upload_queue import UploadQueue

NEXT_NOT_DRAWN = "The next pictures are being drawn."
TOO_SOON = "{commit} came right after the page turned. Look at the page, then press {commit}."
NO_GOOD = (
    "No picture is good, so the model learns nothing from this round. "
    "Mark a good one, or press {commit} to submit it anyway."
)
WHICH_BEST = "Which is the best? Shift+letter names it; {commit} takes the first good one."


class LabellingScreen(MarkingScreen, inherit_bindings=False):
    """Commits pages and submits the round.

    submit: called once the round is submitted. leave: called on Enter once the run is finished.
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
        submit: Callable[[], None],
        leave: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            labelling_round,
            uploads,
            preferences,
            cell,
            symbols=symbols,
            guards=guards,
            clock=clock,
        )
        self._submit, self._leave = submit, leave
        self.undo_seconds = preferences.ui.undo_seconds
        self._came_up = float("-inf"), labelling_round.session.marks
        self._asked = set[str]()
        self._waiting: Timer | None = None

    # -- called by the app --

    def show_round(self) -> None:
        """Another round is open: turn to its first page with something to label."""
        self._asked, self._range_from, self._last_mark = set(), None, None
        self.reopen()
        self._notice = ""
        self._only, self._only_words = (), ""
        self.pages = Pages(self.pages.grid, self.order)
        self.rate.rest()
        self.lay_out()
        self.turn_to(self._next_open_page(0) or 0)
        self._guard_page()

    def show_ready(self, indices: Sequence[int]) -> None:
        """Pictures came in, perhaps those that were asked for too early."""
        if self._notice in (NOT_DRAWN, NEXT_NOT_DRAWN, NO_PICTURES):
            self._notice = ""
        super().show_ready(indices)

    def show_touched(self, images: Sequence[int]) -> None:
        """Marks changed elsewhere (undo, zoom): turn to the page of the first of them."""
        self._asked = set()
        super().show_touched(images)

    def turn_to(self, page: int) -> None:
        """Put a page on the screen, around the ends."""
        before = self.page
        super().turn_to(page)
        if self.page != before:
            self._guard_page()

    def _changed(self, touched: Sequence[int]) -> None:
        self._asked = set()
        super()._changed(touched)

    def on_screen_resume(self) -> None:
        """The page is on top again: an Enter that closed another screen was not meant for it."""
        self._guard_page()

    # -- pages --

    def action_commit(self) -> None:
        """Commit this page, then show the next one, or complete the round."""
        if self._state.finished is not None:
            self._leave()
        elif self._only_words:
            self.show_all()
            self._guard_page()
            self.say("All pictures of the round. Nothing was committed.")
        elif self._too_soon():
            self.tell(self._notice or TOO_SOON)
        elif not self._refused():
            self._commit(rest_bad=True)

    def action_skip_page(self) -> None:
        """Commit this page; unmarked tiles stay unlabelled."""
        if not self._only_words and not self._too_soon() and not self._refused():
            self._commit(rest_bad=False)

    def _guard_page(self) -> None:
        """Something else came up: an Enter that comes too soon was not meant for it."""
        self._came_up = self._clock(), self.labelling_round.session.marks

    def _too_soon(self) -> bool:
        since, marks = self._came_up
        unmarked = marks == self.labelling_round.session.marks
        return unmarked and self._clock() - since < self._guards.page

    def _commit(self, *, rest_bad: bool) -> None:
        images = self.labelling_round.open(self.images)
        if images and rest_bad and self._asks_about_unmarked(images):
            return
        if images and not self.labelling_round.session.commit(images, rest_bad=rest_bad):
            return
        if images:
            self._asked, self._last_mark, self._range_from = set(), None, None
        self.rate.worked(len(images))
        if self.labelling_round.session.complete:
            self._complete_round()
        else:
            self._next_page_after_commit(bool(images))
        self._guard_page()

    def _asks_about_unmarked(self, images: Sequence[int]) -> bool:
        """Ask once before a page without any mark is committed."""
        marks, question = self.labelling_round.session.marks, f"page {self.page}"
        marked = any(marks.labels[i] is not None or i in marks.skipped for i in images)
        if marked or not self._guards.ask_unmarked or question in self._asked:
            return False
        self._ask(question, f"No mark on this page. {{commit}} again makes all {len(images)} bad.")
        return True

    def _ask(self, question: str, text: str) -> None:
        self._asked.add(question)
        self.tell(text)
        self._guard_page()

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

    def _next_open_page(self, start: int) -> int | None:
        """The first page from `start` on, around the end, with a picture that waits for a label."""
        count = self.pages.pages
        order = [(start + step) % count for step in range(count)]
        return next((p for p in order if self.labelling_round.open(self.pages.images_of(p))), None)

    # -- rounds --

    def _complete_round(self) -> None:
        """Ask open questions, then submit after the undo window."""
        self.refresh_page()
        wanted, goods = self.labelling_round.best_wanted, self.labelling_round.session.marks.goods
        if wanted and not goods and NO_GOOD not in self._asked:
            self._ask(NO_GOOD, NO_GOOD)
        elif self.labelling_round.best_missing and WHICH_BEST not in self._asked:
            self._ask(WHICH_BEST, WHICH_BEST)
        elif self.undo_seconds and self._waiting is None:
            self._marks_when_complete = self.labelling_round.session.marks
            self._waiting = self.set_timer(self.undo_seconds, self._submit_unless_changed)
            what = "round" if wanted else "comparison"
            seconds = f"{self.undo_seconds:g} s"
            self.tell(
                f"The {what} is submitted in {seconds}: {{commit}} now, {{undo}} takes it back."
            )
        else:
            self.submit_round()

    def submit_round(self) -> None:
        """Submit the round: its labels are final."""
        self.reopen()
        self.labelling_round.submit()
        if not self.labelling_round.submitted:
            return
        self.rate.rest()
        self._notice = ""
        self.refresh_page()
        self._submit()

    def _submit_unless_changed(self) -> None:
        """Submit after the undo window, unless marks changed meanwhile, in the zoom."""
        if self.labelling_round.session.marks == self._marks_when_complete:
            self.submit_round()
        else:
            self.reopen()

    def reopen(self) -> None:
        """Do not submit the round, until it is complete again."""
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    @property
    def awaits_submission(self) -> bool:
        """Whether the round is complete and Ctrl+Z can still take it back."""
        return self._waiting is not None
