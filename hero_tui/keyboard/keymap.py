"""The registry of keys: bindings, footers, the help screen and docs/keys.md come from here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from textual.binding import Binding, BindingsMap

from hero_engine.config.validation import known_instead
from hero_engine.core.errors import HeroError
from hero_tui.keyboard.key_names import key_name, readable, short
from hero_tui.keyboard.tile_keys import TileKeys, tile_keys

PAGE, LETTERS, CURSOR = "page", "letters", "cursor"
ZOOM, COMPARE, PROGRESS, GALLERY = "zoom", "compare", "progress", "gallery"
HELP, EVERYWHERE = "help", "everywhere"
WELCOME, SUMMARY, END, HOME = "welcome", "summary", "end", "home"
PREFLIGHT = "preflight"

SCREENS: dict[str, tuple[str, ...]] = {
    LETTERS: (LETTERS, PAGE, EVERYWHERE),
    CURSOR: (CURSOR, PAGE, EVERYWHERE),
    ZOOM: (ZOOM, EVERYWHERE),
    COMPARE: (COMPARE, EVERYWHERE),
    PROGRESS: (PROGRESS, EVERYWHERE),
    GALLERY: (GALLERY, EVERYWHERE),
    HELP: (HELP, EVERYWHERE),
    WELCOME: (WELCOME, EVERYWHERE),
    PREFLIGHT: (PREFLIGHT, EVERYWHERE),
    SUMMARY: (SUMMARY, EVERYWHERE),
    END: (END, EVERYWHERE),
    HOME: (HOME,),
}
"""What may be typed where: a key means one thing within each."""

HEADINGS = {
    LETTERS: "On the page, by letters",
    CURSOR: "On the page, with a cursor",
    PAGE: "On the page",
    ZOOM: "In the zoom",
    COMPARE: "Comparing for the best",
    PROGRESS: "Progress",
    GALLERY: "Gallery",
    HELP: "Help",
    WELCOME: "First time",
    PREFLIGHT: "Before a long run",
    SUMMARY: "Summary of a round",
    END: "At the end of a run",
    HOME: "Home screen",
    EVERYWHERE: "Everywhere",
}


@dataclass(frozen=True)
class Action:
    """Something a key does.

    `keys` are Textual key names; `where` is the part of the app it works in; `footer` names it in
    the footer, or is empty where only the help tells of it; `does` is the method, `id` if empty.
    """

    id: str
    keys: tuple[str, ...]
    description: str
    where: str
    footer: str = ""
    does: str = ""

    @property
    def shown(self) -> str:
        """Its keys as a person reads them."""
        return TILE_ACTIONS.get(self.id) or ", ".join(map(readable, self.keys)) or "-"


TILE_ACTIONS = {"good": "letter", "best": "Shift+letter"}
"""Actions of the tiles' own keys, which `keys.tiles` sets."""

IN_FOOTER = {"good": "letter", "best": "LETTER"}

ACTIONS = (
    Action("good", (), "Mark the tile good, or take that back", LETTERS, "good"),
    Action("best", (), "Make the tile the best of the round (and good)", LETTERS, "best"),
    Action("zoom", ("space",), "Zoom into the last tile", LETTERS, "zoom"),
    Action("previous_page", ("left",), "Previous page", LETTERS),
    Action("next_page", ("right",), "Next page", LETTERS),
    Action("left", ("h", "left"), "Move to the previous picture", CURSOR),
    Action("down", ("j", "down"), "Move to the picture below", CURSOR),
    Action("up", ("k", "up"), "Move to the picture above", CURSOR),
    Action("right", ("l", "right"), "Move to the next picture", CURSOR),
    Action(
        "cursor_good",
        ("space", "x"),
        "Mark the picture good, or take that back",
        CURSOR,
        "good",
        does="mark_good",
    ),
    Action(
        "cursor_best",
        ("b",),
        "Make the picture the best of the round (and good)",
        CURSOR,
        "best",
        does="mark_best",
    ),
    Action("cursor_zoom", ("z",), "Zoom into the picture", CURSOR, "zoom", does="zoom"),
    Action("cursor_skip", ("s",), "Skip the picture: no label", CURSOR, does="skip"),
    Action(
        "cursor_range",
        ("r",),
        "Apply the last mark to every tile up to the cursor",
        CURSOR,
        does="range",
    ),
    Action("cursor_invert", ("i",), "Invert the page's marks", CURSOR, does="invert"),
    Action(
        "cursor_compare",
        ("c",),
        "Choose the best among the good, two at a time",
        CURSOR,
        does="compare",
    ),
    Action("commit", ("enter",), "Commit the page: unmarked tiles become bad", PAGE, "commit"),
    Action("mode", ("tab",), "Switch between letters and a cursor", PAGE),
    Action("page_back", ("pageup",), "Previous page", PAGE, does="previous_page"),
    Action("page_on", ("pagedown",), "Next page", PAGE, does="next_page"),
    Action("skip", ("ctrl+d", "delete"), "Skip the last tile: no label", PAGE),
    Action("skip_page", ("ctrl+l",), "Commit the page: unmarked tiles stay unlabelled", PAGE),
    Action("range", ("ctrl+r",), "Apply the last mark to the tiles up to a letter", PAGE),
    Action("invert", ("ctrl+e",), "Invert the page's marks", PAGE),
    Action("suggested", ("ctrl+t",), "Mark what the judge suggests on the page", PAGE),
    Action("compare", ("ctrl+k",), "Choose the best among the good, two at a time", PAGE),
    Action("filter", ("ctrl+f",), "Show good, unmarked, skipped or all pictures", PAGE),
    Action("view", ("ctrl+o",), "Open the last picture in another program", PAGE),
    Action("zoom_previous", ("left", "h"), "Previous picture", ZOOM, "previous", "previous"),
    Action("zoom_next", ("right", "l"), "Next picture", ZOOM, "next", "next"),
    Action("zoom_good", ("g", "up", "k"), "Mark good, show the next picture", ZOOM, "good"),
    Action("zoom_bad", ("x", "down", "j"), "Mark bad, show the next picture", ZOOM, "bad"),
    Action("zoom_best", ("b",), "Make it the best, show the next picture", ZOOM, "best"),
    Action("zoom_skip", ("s",), "Skip it: no label, show the next picture", ZOOM),
    Action("zoom_view", ("o", "ctrl+o"), "Open it in another program", ZOOM, does="view"),
    Action("advance", ("a",), "Stay on a marked picture, or show the next", ZOOM),
    Action(
        "zoom_leave", ("escape", "space", "z", "enter"), "Back to the page", ZOOM, "back", "leave"
    ),
    Action("keep", ("left", "h", "1"), "Keep the left one, the best so far", COMPARE, "keep"),
    Action("replace", ("right", "l", "2"), "Take the right one as the best", COMPARE, "replace"),
    Action("compare_back", ("up", "k"), "Decide the last pair again", COMPARE, "again", "back"),
    Action("compare_leave", ("escape", "enter"), "Back to the page", COMPARE, "page", "leave"),
    Action("progress_back", ("left", "h"), "Previous prompt", PROGRESS, "previous prompt", "back"),
    Action("progress_on", ("right", "l"), "Next prompt", PROGRESS, "next prompt", "on"),
    Action("progress_leave", ("escape", "enter", "space"), "Back", PROGRESS, "back", "leave"),
    Action("gallery_back", ("left", "h", "pageup"), "Earlier rounds", GALLERY, "earlier", "back"),
    Action("gallery_on", ("right", "l", "pagedown"), "Later rounds", GALLERY, "later", "on"),
    Action("gallery_noise", ("down", "j"), "Next fixed noise", GALLERY, "noise", "next_noise"),
    Action("gallery_leave", ("escape", "enter", "space"), "Back", GALLERY, "back", "leave"),
    Action("help_leave", ("escape", "enter", "space", "q"), "Back", HELP, "back", "leave"),
    Action("welcome_leave", ("enter", "escape", "space"), "Begin", WELCOME, "begin", "leave"),
    Action("preflight_leave", ("enter",), "Continue the run", PREFLIGHT, "continue", "leave"),
    Action(
        "summary_leave",
        ("enter", "escape", "space"),
        "Go to the pictures",
        SUMMARY,
        "go to the pictures",
        does="leave",
    ),
    Action("end_up", ("up", "k"), "Previous choice", END, "up", does="up"),
    Action("end_down", ("down", "j"), "Next choice", END, "down", does="down"),
    Action("end_choose", ("enter",), "Take the choice", END, "choose", does="choose"),
    Action("end_leave", ("escape",), "Look at the pictures", END, "pictures", does="leave"),
    Action("home_up", ("up", "k"), "Previous line", HOME, does="up"),
    Action("home_down", ("down", "j"), "Next line", HOME, does="down"),
    Action("home_open", ("enter",), "Start the task, or resume the run", HOME, "open", "open"),
    Action("home_evaluate", ("e",), "Evaluate the run", HOME, "evaluate", "evaluate"),
    Action("home_export", ("x",), "Export the run's LoRA", HOME, "export", "export"),
    Action("home_rename", ("r",), "Rename the run", HOME, "rename", "rename"),
    Action("home_note", ("n",), "Write a note about the run", HOME, "note", "note"),
    Action("home_delete", ("d", "delete"), "Delete the run; asks first", HOME, "delete", "delete"),
    Action("home_redraw", ("f5",), "Redraw the screen", HOME, does="redraw"),
    Action("home_leave", ("ctrl+q", "q", "escape", "ctrl+c", "f10"), "Quit", HOME, "quit", "leave"),
    Action("undo", ("ctrl+z", "backspace"), "Undo", EVERYWHERE, "undo"),
    Action("redo", ("ctrl+y",), "Redo", EVERYWHERE),
    Action("help", ("question_mark", "f1"), "Help", EVERYWHERE, "help"),
    Action(
        "leave_hero",
        ("ctrl+q", "ctrl+c", "f10"),
        "Quit; hero resume continues the run",
        EVERYWHERE,
        "quit",
    ),
    Action("progress", ("f2",), "Charts of the run", EVERYWHERE, "charts"),
    Action(
        "gallery", ("f3",), "Best picture and fixed noises of each round", EVERYWHERE, "gallery"
    ),
    Action("summary", ("f6", "f8"), "Summary of the last round", EVERYWHERE),
    Action("theme", ("f4",), "Next theme", EVERYWHERE),
    Action(
        "palette",
        ("ctrl+p",),
        "Find a command, or go to a picture by its number",
        EVERYWHERE,
        does="command_palette",
    ),
    Action("redraw", ("f5",), "Redraw the screen and its pictures", EVERYWHERE),
)

NAMED = re.compile(r"\{(\w+)\}")
"""An action in a text, whose key is told there."""

BEST_ACTIONS = frozenset(
    action.id
    for action in ACTIONS
    if action.where == COMPARE or action.id.endswith(("best", "compare"))
)
"""Actions that a blind comparison lacks."""


PROMPT_ACTIONS = frozenset({"progress_back", "progress_on"})
"""Actions that only a run with several prompts has."""


@dataclass(frozen=True)
class Keymap:
    """The actions with the keys a person chose, and the tiles' keys.

    hidden: ids of actions that neither footers nor the help list.
    """

    tiles: TileKeys = field(default_factory=lambda: tile_keys("qwerty"))
    actions: tuple[Action, ...] = ACTIONS
    hidden: frozenset[str] = frozenset()

    def without(self, actions: frozenset[str]) -> Keymap:
        """The same, with these actions hidden too."""
        return replace(self, hidden=self.hidden | actions)

    @property
    def listed(self) -> tuple[Action, ...]:
        """The actions that footers and the help list."""
        return tuple(action for action in self.actions if action.id not in self.hidden)

    def told(self, text: str) -> str:
        """The text with the key of each action that it names: "{undo}" becomes Ctrl+Z."""
        return NAMED.sub(lambda match: self._first_keys.get(match[1], match[0]), text)

    @cached_property
    def _first_keys(self) -> dict[str, str]:
        return {each.id: readable(each.keys[0]) if each.keys else "-" for each in self.actions}

    def bindings(self, screen: str) -> BindingsMap:
        """Textual's bindings for a screen of `SCREENS`, or the app's own, for `EVERYWHERE`."""
        own = [place for place in SCREENS.get(screen, ()) if place != EVERYWHERE] or [screen]
        return BindingsMap(
            Binding(key, action.does or action.id, action.description, show=False)
            for action in self.actions
            if action.where in own
            for key in action.keys
        )

    def footer(self, screen: str) -> list[tuple[str, str]]:
        """(key, name) pairs for the footer of a screen."""
        return [
            (IN_FOOTER.get(action.id) or short(action.keys[0]), action.footer)
            for action in self.listed
            if action.footer
            and action.where in SCREENS[screen]
            and (action.keys or action.id in IN_FOOTER)
        ]

    def function_key(self, id: str) -> str:
        """A key of an action as a person reads it: a function key, if it has one."""
        keys = next((action.keys for action in self.actions if action.id == id), ())
        functions = [key for key in keys if key[:1] == "f" and key[1:].isdigit()]
        return readable([*functions, *keys, "f10"][0])

    def conflicts(self) -> list[str]:
        """One line for every key that two actions of one screen claim, tiles included."""
        return [
            f"{readable(key)} is both {' and '.join(ids)} ({HEADINGS[screen].lower()})"
            for screen, clashes in self.clashes().items()
            for key, ids in clashes.items()
        ]

    def clashes(self) -> dict[str, dict[str, list[str]]]:
        """Screen -> key -> ids, for every key with two meanings there."""
        return {
            screen: {key: ids for key, ids in self._claims(screen).items() if len(ids) > 1}
            for screen in SCREENS
        }

    def _claims(self, screen: str) -> dict[str, list[str]]:
        """Key -> ids of what it would do on a screen."""
        claims: dict[str, list[str]] = defaultdict(list)
        for action in self.actions:
            if action.where in SCREENS[screen]:
                for key in action.keys:
                    claims[key].append(action.id)
        if screen == LETTERS:
            for key in self._tile_key_names():
                claims[key].append("a tile")
        return claims

    def _tile_key_names(self) -> list[str]:
        keys = "".join(self.tiles.rows)
        return [key_name(sign) for sign in [*keys, *map(self.tiles.shifted, keys)]]

    def markdown_table(self) -> str:
        """The keys as a Markdown table, with the ids that settings files use."""
        rows = [
            f"| {each.where} | {each.shown} | {each.description} | {self._id_shown(each)} |"
            for each in self.actions
        ]
        return "\n".join(["| where | key | action | id |", "|---|---|---|---|", *rows])

    def _id_shown(self, action: Action) -> str:
        return "" if action.id in TILE_ACTIONS else f"`{action.id}`"


def keymap(chosen: Mapping[str, Sequence[str]], tiles: TileKeys | None = None) -> Keymap:
    """The registry with other keys for some actions, by id; no keys at all unbind an action.

    A default key gives way to a chosen one, or to a tile's, where its action has another. HeroError
    where an id or a key is unknown, or two things of one screen still have the same key.
    """
    known = {action.id for action in ACTIONS} - TILE_ACTIONS.keys()
    if unknown := sorted(chosen.keys() - known):
        instead = known_instead(unknown[0], known)
        raise HeroError(f"keys.{unknown[0]}: no such action; {instead}")
    actions = tuple(
        replace(action, keys=_names(action.id, chosen[action.id]))
        if action.id in chosen
        else action
        for action in ACTIONS
    )
    wanted = Keymap(tiles or tile_keys("qwerty"), actions)
    clashes = wanted.clashes()
    result = replace(
        wanted,
        actions=tuple(each if each.id in chosen else _yielding(each, clashes) for each in actions),
    )
    if found := result.conflicts():
        raise HeroError(f"keys: {found[0]}; give one of them another key")
    return result


def _names(action: str, keys: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(map(key_name, keys))
    except ValueError as error:
        raise HeroError(f"keys.{action}: {error}") from error


def _yielding(action: Action, clashes: Mapping[str, Mapping[str, list[str]]]) -> Action:
    """The action without the default keys that something else claims, unless none would be left."""
    taken = {
        key for screen, keys in clashes.items() if action.where in SCREENS[screen] for key in keys
    }
    free = tuple(key for key in action.keys if key not in taken)
    return replace(action, keys=free) if free else action
