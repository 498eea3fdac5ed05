"""A picture in a program of the person's own: a setting, $HERO_VIEWER, or the system's."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "HERO_VIEWER"
SYSTEM = "open" if sys.platform == "darwin" else "xdg-open"
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
REMOTE = ("SSH_CONNECTION", "SSH_TTY")


def viewer_command(setting: str, environ: Mapping[str, str]) -> list[str]:
    """The program and its arguments; empty if none can show anything here.

    setting: `ui.viewer`, before $HERO_VIEWER. The system's program is left out over SSH and where
    there is no display. ValueError for a command with an open quote.
    """
    chosen = setting or environ.get(VARIABLE, "")
    if chosen:
        return shlex.split(chosen)
    has_display = sys.platform == "darwin" or any(map(environ.get, DISPLAYS))
    if any(map(environ.get, REMOTE)) or not has_display or shutil.which(SYSTEM) is None:
        return []
    return [SYSTEM]


def open_outside(picture: Path, setting: str, environ: Mapping[str, str]) -> str:
    """Open the picture in another program; returns one line that says what happened."""
    try:
        command = viewer_command(setting, environ)
        if not command:
            return f"No viewer here (set ui.viewer). The picture: {picture}"
        subprocess.Popen(
            [*command, str(picture)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"The viewer cannot be started ({reason}). The picture: {picture}"
    return f"Opened in {command[0]}: {picture}"
