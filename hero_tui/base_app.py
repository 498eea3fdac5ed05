"""What every app of hero has in common: theme, keys that work everywhere, screens over screens."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

from textual.app import App
from textual.events import Key
from textual.screen import Screen

from hero_tui.keyboard import keymap
from hero_tui.preferences.ui_preferences import Preferences
from hero_tui.theme import HERO


@runtime_checkable
class TellsOfKeys(Protocol):
    """A screen that says what a key does where it does nothing."""

    def unknown_key(self, event: Key) -> None:
        """A key came that does nothing here."""

    def known_key(self) -> None:
        """A key came that does something."""


class BaseApp(App[int], inherit_bindings=False):
    """A Textual app with the person's theme and keys. Its return value is the exit code."""

    CSS_PATH = "hero.tcss"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "hero"

    def __init__(self, preferences: Preferences | None) -> None:
        super().__init__()
        self.preferences = preferences or Preferences()
        self._bindings = self.preferences.keymap.bindings(keymap.EVERYWHERE)
        self.register_theme(HERO)
        self.theme = self.preferences.ui.theme

    def refresh(
        self, *, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """As Textual's, but what is only laid out again is not painted again.

        Textual asks for a layout after it removed a screen; that would send every picture twice.
        """
        return super().refresh(repaint=repaint and not layout, layout=layout, recompose=recompose)

    def get_css_variables(self) -> dict[str, str]:
        """The theme's colours, with `quiet` and `faint` made from its own where it has none."""
        known = super().get_css_variables()
        plain = known["foreground"]
        ours = {
            "quiet": known.get("foreground-muted", plain),
            "faint": known.get("foreground-disabled", plain),
        }
        self.theme_variables = ours | known
        return self.theme_variables

    def on_key(self, event: Key) -> None:
        """A key that nothing took: the screen says so where it is bound to nothing either."""
        screen, focused = self.screen, self.focused
        types = focused is not None and focused.check_consume_key(event.key, event.character)
        if isinstance(screen, TellsOfKeys) and not types:
            known = event.key in screen.active_bindings
            screen.known_key() if known else screen.unknown_key(event)

    def next_theme(self) -> str:
        """Change to the next theme; returns its name."""
        names = sorted(self.available_themes)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        return self.theme

    def toggle(self, screen: Screen[Any]) -> None:
        """Show a screen over the others; close one of its kind that is on top."""
        if type(self.screen) is type(screen):
            self.pop_screen()
        else:
            self.push_screen(screen)

    def uncover(self, screen: Screen[Any]) -> None:
        """Close the screens over this one."""
        while self.screen is not screen:
            self.pop_screen()

    def write(self, text: str) -> None:
        """Send escape sequences to the terminal, past Textual."""
        if self._driver is not None:
            self._driver.write(text)
