"""What a round is, and all keys."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import ItemGrid, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from hero_tui.keyboard.keymap import HEADINGS, HELP, SCREENS, Keymap
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.session.run_state import RunState

KEY_WIDTH, DESCRIPTION = 19, 50
"""Cells of a key and of what it does."""

A_ROUND = (
    "A round: the model draws pictures, you mark the good ones and the best one, and the model "
    "learns from that. It then draws the next round.",
    "Press the letter of every good picture and Shift+letter for the best. {commit} makes the rest "
    "of the page bad and shows the next page; after the last page it submits the round.",
    "Mark every good picture: a missed good one becomes a wrong label. Every mark is saved at once "
    "and {undo} undoes it until the model learns from the round.",
    "~ guided on a tile: its noise lies near that of an earlier good picture. ≈ near-copy: it "
    "repeats the best one. + fresh: its noise is new, so it shows what was learned. The "
    "commonest kind of a round has no sign.",
)
BLIND_ROUND = (
    "A blind comparison: the pictures of two models are mixed. Mark the good ones. The end shows "
    "the share of good pictures of each model.",
    "Press the letter of every good picture. {commit} makes the rest of the page bad and shows the "
    "next page; after the last page the comparison ends.",
)


class HelpScreen(BaseScreen[None], inherit_bindings=False):
    """What can be typed on the screen it was called from comes first."""

    place = HELP

    def __init__(self, keys: Keymap, called_from: str, state: RunState, *, blind: bool) -> None:
        super().__init__(keys, state)
        self._first = called_from
        self._introduction = list(map(keys.told, BLIND_ROUND if blind else A_ROUND))

    def compose(self) -> ComposeResult:
        """What a round is, then all actions by where they work, in columns."""
        yield from self.status_row()
        with VerticalScroll(id="help"):
            yield Static(Content("\n").join(map(Content, self._introduction)), id="a-round")
            with ItemGrid(min_column_width=KEY_WIDTH + DESCRIPTION + 3, id="help-columns"):
                yield from (Static(part) for part in _parts(self.keys, self._first))
        yield from self.key_row()

    def action_leave(self) -> None:
        """Back to where help was asked for."""
        self.dismiss()


def _parts(keys: Keymap, first: str) -> Iterator[Content]:
    for where in dict.fromkeys([*SCREENS.get(first, ()), *HEADINGS]):
        lines = [
            Content.assemble((f"  {action.shown:<{KEY_WIDTH}} ", "bold"), action.description)
            for action in keys.listed
            if action.where == where
        ]
        if not lines:
            continue
        heading = Content.assemble((HEADINGS[where], "bold $accent"))
        yield Content("\n").join([heading, *lines, Content("")])
