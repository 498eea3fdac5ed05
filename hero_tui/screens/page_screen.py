"""The page of pictures with the rows around it: its layout, and what each of them shows."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize

from hero_engine.core.numbering import picture_name
from hero_tui.graphics.grid_geometry import Grid, choose_grid
from hero_tui.graphics.painter import Painter
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.pages import Pages
from hero_tui.session.run_state import RunState
from hero_tui.widgets import status_line as status
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.message_wrap import two_rows
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile_grid import PictureArea, TileGrid
from hero_tui.widgets.upload_queue import UploadQueue

POINTER = "▸"
"""Stands before the picture under the cursor, where letters are not in use."""


class PageScreen(BaseScreen[None], inherit_bindings=False):
    """Shows one page of the labelling round.

    cell: a cell's width and height in pixels. symbols: pictures are drawn with characters.
    """

    place = keymap.LETTERS

    def __init__(
        self,
        labelling_round: LabellingRound,
        uploads: UploadQueue,
        keys: Keymap,
        cell: tuple[int, int],
        *,
        symbols: bool,
    ) -> None:
        super().__init__(keys, RunState())
        self.labelling_round = labelling_round
        self.cell = cell
        self.pages = Pages(Grid.single(cell), ())
        self.tiles: TileGrid | None = None
        self.cursor = False
        self._uploads = uploads
        self.symbols = symbols
        self._notice = ""
        self._only: tuple[int, ...] = ()
        self._only_words, self._here_before = "", 0

    def compose(self) -> ComposeResult:
        """Two rows above the pictures, two below."""
        yield from self.status_row()
        yield TextLine(id="criterion")
        yield PictureArea(id="picture-area")
        with Horizontal(id="standing"):
            yield TextLine(id="notice")
            yield TextLine(id="tally")
        yield from self.key_row()

    # -- called by the app --

    def show_state(self, state: RunState) -> None:
        """The run's state has changed: rewrite the rows of text."""
        self._state = state
        self.refresh_lines()

    def show_ready(self, indices: Sequence[int]) -> None:
        """Pictures came in; those of this page are drawn. The first may change the grid."""
        if self.labelling_round.aspect != 1.0:
            self.lay_out()
        elif set(indices) & set(self.images):
            self.refresh_page()
        self.refresh_lines()

    def tell(self, text: str) -> None:
        """Show a message with the keys of the actions that it names: see `Keymap.told`."""
        self.say(self.keys.told(text))

    def say(self, text: str) -> None:
        """Show a message until the next one."""
        self._notice = text
        self.refresh_lines()

    def known_key(self) -> None:
        """The message stays: what the key does says what follows."""

    # -- geometry --

    @property
    def images(self) -> tuple[int, ...]:
        """The pictures of this page."""
        return self.pages.images

    @property
    def page(self) -> int:
        """The page on the screen."""
        return self.pages.page

    def take_size(self, event: Resize) -> None:
        """Store the size of a cell, if the terminal reports it."""
        pixels, cells = event.pixel_size, event.size
        if pixels is not None and cells and pixels.width >= cells.width:
            self.cell = pixels.width // cells.width, pixels.height // cells.height

    def use_cell(self, cell: tuple[int, int]) -> None:
        """A cell of the terminal has this size now, or pictures are drawn in another way."""
        self.cell = cell
        super().use_cell(cell)

    def painted_by(self, painter: Painter) -> None:
        """Pictures are drawn by this painter now."""
        self.symbols = painter.name == "symbols"

    def lay_out(self) -> None:
        """Make the grid for the space there is, and keep the current picture on the page."""
        room, keys = self.query_one("#picture-area").content_size, self.keys.tiles
        grid = choose_grid(
            room.width,
            room.height,
            self.cell,
            max(1, self.labelling_round.count),
            symbols=self.symbols,
            most=(keys.columns, len(keys.rows)),
            aspect=self.labelling_round.aspect,
        )
        if self.tiles is None or self.tiles.grid != grid:
            if self.tiles is not None:
                self.tiles.put_away()
            self.tiles = TileGrid(grid)
            self.query_one("#picture-area").mount(self.tiles)
        renamed = grid != self.pages.grid
        self.pages = Pages(grid, self.order, self.pages.here)
        self.refresh_page()
        if renamed and isinstance(above := self.app.screen, BaseScreen):
            above.names_changed()

    def page_keys(self) -> list[str]:
        """The key of every tile of the page."""
        grid = self.pages.grid
        return self.keys.tiles.page(grid.rows, grid.columns)

    def name_of(self, image: int) -> str:
        """A picture as every message names it: "q, page 1"."""
        page, place = Pages(self.pages.grid, self.labelling_round.order).place_of(image)
        return f"{self.page_keys()[place]}, page {page + 1}"

    # -- showing --

    def turn_to(self, page: int) -> None:
        """Put a page on the screen, around the ends."""
        if page % self.pages.pages != self.page:
            self._notice = ""
            self.pages.turn_to(page)
            self.pictures_changed()
        self.refresh_page()

    def go_to(self, image: int) -> None:
        """Make a picture the current one, and show its page."""
        page, before = self.page, self.pages.here
        self.pages.here = image
        if self.page != page:
            self.refresh_page()
        elif before != image:
            self.refresh_captions([before, image])

    def go_to_picture(self, image: int) -> None:
        """Put a picture's page on the screen and make it the current picture."""
        self.show_all()
        self.go_to(image)
        self.say(f"{self.name_of(image)}: {picture_name(image)} of {self.labelling_round.count}.")

    def show_only(self, images: Sequence[int], words: str) -> None:
        """Show only these pictures until `show_all`. words: what they are, for the second row."""
        if not self._only_words:
            self._here_before = self.pages.here
        self._only, self._only_words = tuple(images), words
        self._use_order(None)

    def show_all(self) -> None:
        """Show all pictures of the round."""
        if self._only_words:
            self._only, self._only_words = (), ""
            self._use_order(self._here_before)

    @property
    def order(self) -> Sequence[int]:
        """The pictures that pages show, in their order."""
        return self._only if self._only_words else self.labelling_round.order

    def _use_order(self, here: int | None) -> None:
        self.pages = Pages(self.pages.grid, self.order, here)
        self.pictures_changed()
        self.refresh_page()

    def refresh_page(self) -> None:
        """Pictures, captions and rows of text; what did not change is not repainted."""
        if self.tiles is None:
            return
        for place, tile in enumerate(self.tiles.tiles):
            image = self.pages.at(place)
            path = None if image is None else self.labelling_round.pictures.get(image)
            tile.set_class(image is None, "empty")
            self._uploads.want(tile.picture, path, self.tiles.grid.box)
        self.refresh_captions(self.images)

    def refresh_captions(self, images: Sequence[int]) -> None:
        """Captions of those of the images that are on this page, and the rows of text."""
        if self.tiles is None:
            return
        changed = set(images)
        for place, image in enumerate(self.images):
            if image in changed:
                self._refresh_caption(place, image)
        self.refresh_lines()

    def _refresh_caption(self, place: int, image: int) -> None:
        here = image == self.pages.here
        pointed, last = self.cursor and here, here and not self.cursor
        key = self.page_keys()[place] if not self.cursor else POINTER if pointed else ""
        style, tag = self.labelling_round.style_of(image), self.labelling_round.tag_of(image)
        assert self.tiles is not None
        self.tiles.tiles[place].caption.show(
            key,
            style,
            tag,
            pointed=pointed,
            last=last,
            prompt=self.labelling_round.short_prompt(image),
        )

    def refresh_lines(self) -> None:
        """Everything that is text around the pictures."""
        if not self.is_mounted:
            return
        self.refresh_status()
        only = f"only {self._only_words}, " if self._only_words else ""
        place = f"{only}page {self.page + 1}/{self.pages.pages}"
        self.query_one("#criterion", TextLine).show(
            *status.second_row(self._state, place, self.size.width, self.prompt)
        )
        self.query_one("#tally", TextLine).show(Content(""), status.tally(self.labelling_round))
        self._show_message()

    @property
    def prompt(self) -> str:
        """The prompt of the current picture, in a run with several."""
        count, here = self.labelling_round.count, self.pages.here
        return self.labelling_round.prompt_of(here) if here < count else ""

    @property
    def message(self) -> str:
        """What the row below the pictures says."""
        return self._notice or status.advice(self._state, self.labelling_round, self.keys)

    def _show_message(self) -> None:
        """A message that is too long for its row continues in the row of keys."""
        text, row = self.message, self.query_one("#notice", TextLine)
        head, rest = two_rows(text, row.size.width, self.size.width)
        row.show(Content.styled(head, "" if self._notice else "$quiet"))
        self.query_one(KeyFooter).show_text(rest)
