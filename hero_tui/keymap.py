"""The one registry of keys: bindings, footer, help screen and the README's table come from here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding, BindingType

TILE_ROWS = ("12345678", "qwertyui", "asdfghjk", "zxcvbnm,")
"""Keyboard rows, top to bottom.

A page with fewer tile rows uses the lowest it can from the letters.
"""

SHIFTED = dict(zip("12345678,", "!@#$%^&*<", strict=True))
"""What Shift makes of the keys that are no letters, on a US keyboard."""

LABELLING, ZOOM, EVERYWHERE = "labelling", "zoom", "everywhere"


@dataclass(frozen=True)
class Action:
    """Something a key does.

    `keys` are Textual key names; `shown` is how a person reads them; `where` is the screen it works
    on; `footer` is key and name for the footer line, or nothing when only the help tells of it.
    """

    id: str
    keys: tuple[str, ...]
    shown: str
    description: str
    where: str
    footer: tuple[str, str] | None = None


ACTIONS = (
    Action(
        "good", (), "letter", "mark the tile good, or take that back", LABELLING, ("letter", "good")
    ),
    Action(
        "best",
        (),
        "Shift+letter",
        "make the tile the best (and good)",
        LABELLING,
        ("LETTER", "best"),
    ),
    Action(
        "commit",
        ("enter",),
        "Enter",
        "commit the page: unmarked is bad",
        LABELLING,
        ("Enter", "commit"),
    ),
    Action(
        "zoom",
        ("space", "tab"),
        "Space, Tab",
        "look closely at the last tile",
        LABELLING,
        ("Space", "zoom"),
    ),
    Action("previous_page", ("left", "pageup"), "←, PageUp", "page back", LABELLING),
    Action("next_page", ("right", "pagedown"), "→, PageDown", "page on", LABELLING),
    Action("previous", ("left",), "←", "the picture before", ZOOM, ("←", "previous")),
    Action("next", ("right",), "→", "the next picture", ZOOM, ("→", "next")),
    Action("zoom_good", ("g", "up"), "g, ↑", "good, or take that back", ZOOM, ("g", "good")),
    Action("zoom_best", ("b",), "b", "make it the best (and good)", ZOOM, ("b", "best")),
    Action(
        "leave",
        ("escape", "space", "tab", "enter"),
        "Esc, Space",
        "back to the page",
        ZOOM,
        ("Esc", "back"),
    ),
    Action(
        "undo", ("ctrl+z", "backspace"), "Ctrl+Z, Backspace", "undo", EVERYWHERE, ("^Z", "undo")
    ),
    Action("redo", ("ctrl+y",), "Ctrl+Y", "redo", EVERYWHERE),
    Action("help", ("question_mark", "f1"), "?, F1", "this help", EVERYWHERE, ("?", "help")),
    Action(
        "leave_hero",
        ("ctrl+q", "ctrl+c"),
        "Ctrl+Q, Ctrl+C",
        "quit; the run can be resumed",
        EVERYWHERE,
        ("^Q", "quit"),
    ),
)


def bindings(where: str) -> list[BindingType]:
    """Textual bindings of one screen (or of the app, for `everywhere`).

    Each calls `action_<id>`.
    """
    return [
        Binding(",".join(action.keys), action.id, action.description, show=False)
        for action in ACTIONS
        if action.keys and action.where == where
    ]


def footer(where: str) -> list[tuple[str, str]]:
    """(key, name) pairs for the footer of a screen."""
    here = {where, EVERYWHERE}
    return [action.footer for action in ACTIONS if action.footer and action.where in here]


def conflicts(actions: Iterable[Action] = ACTIONS) -> list[str]:
    """One line for every key that two actions of one screen claim, tiles included."""
    claims: dict[tuple[str, str], list[str]] = defaultdict(list)
    for action in actions:
        places = (LABELLING, ZOOM) if action.where == EVERYWHERE else (action.where,)
        for place in places:
            for key in action.keys:
                claims[place, key].append(action.id)
    for key in tile_keys(len(TILE_ROWS), len(TILE_ROWS[0])):
        claims[LABELLING, key].append("good")
        claims[LABELLING, shifted(key)].append("best")
    return [
        f"{key} on the {place} screen: {' and '.join(ids)}"
        for (place, key), ids in claims.items()
        if len(ids) > 1
    ]


def tile_keys(rows: int, columns: int) -> list[str]:
    """The key of every tile of a page, row by row; three rows or fewer leave the digits out."""
    from_row = 0 if rows == len(TILE_ROWS) else 1
    return [key for row in TILE_ROWS[from_row : from_row + rows] for key in row[:columns]]


def shifted(key: str) -> str:
    """The character that Shift and a tile's key make."""
    return SHIFTED.get(key, key.upper())


def readme_table() -> str:
    """The keys as a Markdown table, for the README."""
    rows = [f"| {action.where} | {action.shown} | {action.description} |" for action in ACTIONS]
    return "\n".join(["| where | key | what it does |", "|---|---|---|", *rows])
