"""The screen a person labels on: a page of tiles, and lines that say where things stand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Key, Resize
from textual.screen import Screen

from hero_tui import keymap
from hero_tui.desk import Desk
from hero_tui.geometry import Grid, choose_grid
from hero_tui.run_state import RunState
from hero_tui.screens.zoom import ZoomScreen
from hero_tui.widgets import status
from hero_tui.widgets.easel import Easel
from hero_tui.widgets.footer import KeyFooter
from hero_tui.widgets.grid import Table, TileGrid
from hero_tui.widgets.line import Line
from hero_tui.widgets.still import Still
from hero_tui.widgets.tile import Tile

HELD_DOWN = 0.06
"""Seconds; Enter again sooner than this is a key held down, and must not commit a page unseen."""

NOT_NOW = "This round was handed in; the model learns from it."


class LabellingScreen(Screen[None], Still, inherit_bindings=False):
    """Shows one page of the desk's round and turns keys into marks.

    `submit` is called when the person is done with the round and the desk has closed it.
    """

    BINDINGS = keymap.bindings(keymap.LABELLING)

    def __init__(
        self,
        desk: Desk,
        easel: Easel,
        cell: tuple[int, int],
        *,
        symbols: bool,
        submit: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.desk = desk
        self.page = 0
        self.touched = 0
        self.tiles: TileGrid | None = None
        self._easel = easel
        self._cell = cell
        self._symbols = symbols
        self._submit = submit
        self._clock = clock
        self.held_down = HELD_DOWN
        self._entered = float("-inf")
        self._asked_for_best = False
        self._state = RunState()
        self._notice = ""

    def compose(self) -> ComposeResult:
        """Two lines above the pictures, three below."""
        yield Line(id="headline")
        yield Line(id="criterion")
        yield Table(id="table")
        yield Line(id="notice")
        with Horizontal(id="standing"):
            yield Line(id="phase")
            yield Line(id="tally")
            yield Line(id="history")
        yield KeyFooter(keymap.footer(keymap.LABELLING), id="keys")

    # -- what the app tells --

    def show_state(self, state: RunState) -> None:
        """The run went on: rewrite the lines."""
        self._state = state
        self.refresh_lines()

    def show_round(self) -> None:
        """Another round is on the desk: turn to its first page with something to label."""
        self._notice, self._asked_for_best, self.touched = "", False, 0
        self._lay_out()
        self._turn_to(self._next_open_page(0) or 0)

    def show_ready(self, indices: Sequence[int]) -> None:
        """Pictures came in; only those of this page are drawn."""
        if set(indices) & set(self.images):
            self.refresh_page()
        self.refresh_lines()

    def say(self, text: str) -> None:
        """One line for the person, until the next one."""
        self._notice = text
        self.refresh_lines()

    def show_touched(self, images: Sequence[int]) -> None:
        """Marks changed elsewhere (undo, zoom): turn to the page of the first of them."""
        self._asked_for_best = False
        if images and images[0] not in self.images and self.tiles is not None:
            self.page = self.tiles.grid.page_of(images[0])
        if images:
            self.touched = images[0]
        self.refresh_page()

    # -- geometry --

    @property
    def images(self) -> range:
        """The pictures of this page."""
        if self.tiles is None:
            return range(0)
        return self.tiles.grid.images(self.page, self.desk.count)

    @property
    def pages(self) -> int:
        """Pages of the round on this terminal."""
        return self.tiles.grid.pages(self.desk.count) if self.tiles else 1

    def on_resize(self, event: Resize) -> None:
        """Another size, another grid."""
        pixels, cells = event.pixel_size, event.size
        if pixels is not None and cells and pixels.width >= cells.width:
            self._cell = pixels.width // cells.width, pixels.height // cells.height
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        """Make the grid for the room there is, and keep the picture touched last on the page."""
        grid = self._grid()
        if self.tiles is None or self.tiles.grid != grid:
            if self.tiles is not None:
                self.tiles.put_away()
            self.tiles = TileGrid(grid)
            self.query_one("#table").mount(self.tiles)
            self.page = grid.page_of(self.touched)
        self.refresh_page()

    def _grid(self) -> Grid:
        room = self.query_one("#table").content_size
        count = max(1, self.desk.count)
        return choose_grid(room.width, room.height, self._cell, count, symbols=self._symbols)

    # -- keys --

    def on_key(self, event: Key) -> None:
        """Tile keys: the character marks good, its Shift marks best."""
        if event.character is None or (place := self._place_of(event.character)) is None:
            return
        event.stop()
        self._mark(place[0], best=place[1])

    def on_tile_chosen(self, chosen: Tile.Chosen) -> None:
        """A tile was clicked."""
        self._mark(chosen.place, best=chosen.best)

    def action_commit(self) -> None:
        """Fix this page's labels, then the next page, or hand in the round."""
        now = self._clock()
        held, self._entered = now - self._entered < self.held_down, now
        if held:
            return
        if self._state.finished is not None:
            self.app.exit(0)
            return
        if self._refused():
            return
        open_images = self.desk.open(self.images)
        if open_images and not self.desk.session.commit(open_images):
            return
        if self.desk.session.complete:
            self._hand_in()
        else:
            self._next_page_after_commit(bool(open_images))

    def action_next_page(self) -> None:
        """Page on, around the end."""
        self._turn_to((self.page + 1) % self.pages)

    def action_previous_page(self) -> None:
        """Page back, around the start."""
        self._turn_to((self.page - 1) % self.pages)

    def action_zoom(self) -> None:
        """Look at the picture touched last, or the first of the page."""
        here = self.desk.ready(self.images)
        if not here:
            self.say("No picture here yet.")
            return
        image = self.touched if self.touched in here else here[0]
        self.app.push_screen(ZoomScreen(self.desk, self._easel, image, self._cell), self._zoomed)

    def _zoomed(self, image: int | None) -> None:
        self.show_touched([self.touched if image is None else image])

    def _place_of(self, character: str) -> tuple[int, bool] | None:
        """The place on the page that a character means, and whether it was shifted."""
        for place, key in enumerate(self._keys()):
            if character in (key, keymap.shifted(key)):
                return place, character != key
        return None

    def _keys(self) -> list[str]:
        grid = self.tiles.grid if self.tiles else None
        return keymap.tile_keys(grid.rows, grid.columns) if grid else []

    def _mark(self, place: int, *, best: bool) -> None:
        images = self.images
        if place >= len(images) or self._refused():
            return
        image = images[place]
        if image not in self.desk.pictures:
            self.say(f"{self._keys()[place]} is still being drawn.")
            return
        self.touched, self._asked_for_best, self._notice = image, False, ""
        session = self.desk.session
        touched = session.toggle_best(image) if best else session.toggle_good(image)
        self.refresh_captions(touched)

    def _refused(self) -> bool:
        if self.desk.submitted:
            self.say(NOT_NOW)
        return self.desk.submitted

    def _next_page_after_commit(self, committed: bool) -> None:
        page = self._next_open_page(self.page)
        if page is not None:
            self._notice = ""
            self._turn_to(page)
            return
        self._notice = "" if committed else self._notice
        self.refresh_page()
        self.say("The next pictures are being drawn.")

    def _hand_in(self) -> None:
        self.refresh_page()
        if self.desk.best_missing and not self._asked_for_best:
            self._asked_for_best = True
            self.say("Which is the best? Shift+letter names it; Enter takes the first good one.")
            return
        self.desk.submit()
        if not self.desk.submitted:
            return
        self._notice = ""
        self.refresh_page()
        self._submit()

    def _next_open_page(self, start: int) -> int | None:
        """The first page from `start` on, around the end, with a picture that waits for a label."""
        if self.tiles is None:
            return None
        grid, count = self.tiles.grid, self.desk.count
        order = [(start + step) % self.pages for step in range(self.pages)]
        return next((page for page in order if self.desk.open(grid.images(page, count))), None)

    # -- showing --

    def _turn_to(self, page: int) -> None:
        if page != self.page and self.tiles is not None:
            self.page, self._notice = page, ""
            images = self.images
            self.touched = images[0] if images else 0
        self.refresh_page()

    def refresh_page(self) -> None:
        """Pictures, captions and lines of the page; what did not change is not repainted."""
        if self.tiles is None:
            return
        images = self.images
        for place, tile in enumerate(self.tiles.tiles):
            image = images[place] if place < len(images) else None
            path = None if image is None else self.desk.pictures.get(image)
            tile.set_class(image is None, "empty")
            self._easel.want(tile.picture, path, self.tiles.grid.box)
        self.refresh_captions(images)

    def refresh_captions(self, images: Sequence[int]) -> None:
        """Captions of those of the images that are on this page, and the lines."""
        if self.tiles is None:
            return
        keys, here = self._keys(), self.images
        for image in images:
            if image in here:
                place = image - here.start
                self.tiles.tiles[place].caption.show(keys[place], self.desk.look(image))
        self.refresh_lines()

    def refresh_lines(self) -> None:
        """Everything that is text around the pictures."""
        if not self.is_mounted:
            return
        state, desk = self._state, self.desk
        position = status.position(state, self.page, self.pages)
        self.query_one("#headline", Line).show(status.headline(state), position)
        self.query_one("#criterion", Line).show(status.criterion(state))
        notice = Content(self._notice) if self._notice else status.advice(state, desk)
        self.query_one("#notice", Line).show(notice, status.activity(state))
        self.query_one("#phase", Line).show(status.phase(state))
        self.query_one("#tally", Line).show(status.tally(desk))
        self.query_one("#history", Line).show(Content(""), status.history(state))
