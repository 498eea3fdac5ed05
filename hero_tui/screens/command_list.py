"""What the command palette offers: every action of the screen below, and any picture or page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from hero_engine.core.numbering import index, number, picture_name
from hero_tui.keyboard.keymap import EVERYWHERE, SCREENS, Action
from hero_tui.screens.base_screen import BaseScreen
from hero_tui.screens.page_screen import PageScreen

PALETTE = "palette"


class CommandList(Provider):
    """Actions by their description; on a page of pictures also "picture 13" and "page 2"."""

    async def discover(self) -> Hits:
        """Every action, for an empty search."""
        for action in self._actions():
            yield DiscoveryHit(action.description, self._run(action), help=action.shown)

    async def search(self, query: str) -> Hits:
        """The actions and places that the words fit."""
        matcher = self.matcher(query)
        for action in self._actions():
            if (score := matcher.match(action.description)) > 0:
                shown = matcher.highlight(action.description)
                yield Hit(score, shown, self._run(action), help=action.shown)
        for text, go in self._places(query):
            yield Hit(1.0, text, go)

    def _actions(self) -> Iterator[Action]:
        screen = self.screen
        if not isinstance(screen, BaseScreen):
            return
        seen = set[str]()
        for action in screen.keys.listed:
            here = action.where in SCREENS[screen.place] and action.keys
            if here and action.id != PALETTE and action.description not in seen:
                seen.add(action.description)
                yield action

    def _run(self, action: Action) -> Callable[[], object]:
        owner = "app" if action.where == EVERYWHERE else "screen"
        return partial(self.app.run_action, f"{owner}.{action.does or action.id}", self.screen)

    def _places(self, query: str) -> Iterator[tuple[str, Callable[[], object]]]:
        """A picture or a page by its number."""
        screen, digits = self.screen, "".join(filter(str.isdigit, query))[:6]
        if not isinstance(screen, PageScreen) or not digits:
            return
        image, page = index(int(digits)), index(int(digits))
        if 0 <= image < screen.labelling_round.count:
            where = f"{picture_name(image).capitalize()} ({screen.name_of(image)})"
            yield where, partial(screen.go_to_picture, image)
        if 0 <= page < screen.pages.pages:
            yield f"Page {number(page)}", partial(screen.turn_to, page)
