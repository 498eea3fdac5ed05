"""Path safety: no path in a run's folder leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

from hero_engine.core.errors import Damaged


def inside(folder: Path, relative: str) -> Path:
    """A path that a file of the run names. Damaged if it leads out of the run's folder."""
    path = Path(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative:
        raise Damaged(f"{folder} names a file outside of it: {relative!r}")
    return folder / path


def refuse_links(folder: Path) -> None:
    """Damaged if anything in a run is not a plain file or a folder.

    A link would make hero read or write a file that somebody else chose; a pipe would make it wait.
    Files may vanish meanwhile, while the run is at work.
    """
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Damaged(f"cannot look into {folder}: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            refuse_links(Path(entry.path))
        elif not entry.is_file(follow_symlinks=False):
            what = "a link" if entry.is_symlink() else "not a plain file"
            raise Damaged(f"{entry.path} is {what}: a run holds only files and folders")
