"""Which key belongs to which tile: keyboard rows lie on the page as they lie on the keyboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hero_engine.core.errors import HeroError

NARROW = 8
"""Keys of each row that a layout uses; its "-wide" twin uses all."""

US = dict(zip("1234567890-=[]\\;',./`", '!@#$%^&*()_+{}|:"<>?~', strict=True))
GERMAN = dict(zip("1234567890,.-", '!"§$%&/()=;:_', strict=True))
FRENCH = dict(zip("&é\"'(-è_çà,;:!", "1234567890?./§", strict=True))

ROWS: dict[str, tuple[str, dict[str, str]]] = {
    "qwerty": ("1234567890 qwertyuiop asdfghjkl; zxcvbnm,./", US),
    "qwertz": ("1234567890 qwertzuiop asdfghjklö yxcvbnm,.-", GERMAN),
    "azerty": ("&é\"'(-è_çà azertyuiop qsdfghjklm wxcvbn,;:!", FRENCH),
    "dvorak": ("1234567890 ',.pyfgcrl aoeuidhtns ;qjkxbmwvz", US),
    "colemak": ("1234567890 qwfpgjluy; arstdhneio zxcvbkm,./", US),
}
"""Keyboards by name: their four rows, and what Shift makes of the keys that are no letters."""

LAYOUTS = tuple(f"{name}{width}" for name in ROWS for width in ("", "-wide"))


@dataclass(frozen=True)
class TileKeys:
    """`rows`: keyboard rows, top to bottom, all equally long. `shift`: what Shift makes of a key
    that is no letter.

    HeroError if rows differ in length, a key stands twice, or what Shift makes is not known.
    """

    rows: tuple[str, ...]
    shift: Mapping[str, str] = field(default_factory=lambda: US)

    def __post_init__(self) -> None:
        if not self.rows or len({len(row) for row in self.rows}) != 1:
            raise HeroError(f"tile keys {' '.join(self.rows)!r}: rows must be equally long")
        keys = "".join(self.rows)
        signs = [*keys, *map(self.shifted, keys)]
        for sign in signs:
            if signs.count(sign) > 1:
                raise HeroError(
                    f"tile keys {' '.join(self.rows)!r}: {sign} stands for two things; "
                    "[keys.shift] says what Shift makes of a key"
                )

    @property
    def columns(self) -> int:
        """Tiles a row has at most."""
        return len(self.rows[0])

    def page(self, rows: int, columns: int) -> list[str]:
        """The key of every tile of a page, row by row.

        A page with fewer rows leaves a row without letters (the digits) out first.
        """
        skipped = len(self.rows) > rows and not any(key.isalpha() for key in self.rows[0][:1])
        return [key for row in self.rows[skipped:][:rows] for key in row[:columns]]

    def shifted(self, key: str) -> str:
        """The character that Shift and a tile's key make."""
        return self.shift.get(key, key.upper())


def tile_keys(text: str, shift: Mapping[str, str] | None = None) -> TileKeys:
    """A keyboard's name, or rows of keys with spaces between: "qwer asdf zxcv".

    shift: replaces or adds to what Shift makes of keys. HeroError if it cannot be used.
    """
    name = text.strip().lower().removesuffix("-wide")
    if name in ROWS:
        rows, known = ROWS[name]
        width = None if text.strip().lower().endswith("-wide") else NARROW
        return TileKeys(tuple(row[:width] for row in rows.split()), known | dict(shift or {}))
    if len(text.split()) < 2:
        raise HeroError(
            f"tile keys {text!r}: name a keyboard ({', '.join(LAYOUTS)}) "
            "or give rows with spaces between, such as 'qwer asdf zxcv'"
        )
    return TileKeys(tuple(text.split()), US | dict(shift or {}))
