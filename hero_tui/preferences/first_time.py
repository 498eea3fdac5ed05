"""Whether this person has seen the four sentences of the first time."""

from __future__ import annotations

from contextlib import suppress

from hero_engine.core.xdg import data_folder


def first_time() -> bool:
    """True once; from then on a file in hero's data folder says that they were shown."""
    seen = data_folder() / "welcomed"
    if seen.exists():
        return False
    with suppress(OSError):  # a read-only home shows them again
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()
    return True
