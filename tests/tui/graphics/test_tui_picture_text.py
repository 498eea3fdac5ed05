"""Pictures on stdout without the app: in letters for a file, by the terminal's protocol on one."""

import sys

import numpy as np
import pytest
from PIL import Image

from hero_tui.commands import inspect_runs
from hero_tui.graphics.detect_terminal import Terminal
from hero_tui.graphics.picture_text import SHADES, picture_text

GRADIENT = Image.fromarray(
    np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (64, 64, 3)).copy()
)


def test_a_file_gets_letters_from_dark_to_bright() -> None:
    lines = picture_text(GRADIENT, 20, None).splitlines()
    assert len(lines) == 10 and "\x1b" not in "".join(lines)
    shades = [SHADES.index(letter) for letter in lines[5]]
    assert shades == sorted(shades) and shades[0] == 0 and shades[-1] == len(SHADES) - 1


@pytest.mark.parametrize(
    ("terminal", "wanted"),
    [
        (Terminal(kitty=True, name="kitty"), "\x1b_Ga=T,U=1"),
        (Terminal(sixel=True, name="xterm(379)"), "\x1bP"),
        (Terminal(iterm=True, name="WezTerm"), "\x1b]1337;File="),
        (Terminal(name="xterm(379)"), "\x1b[38;2;"),
        (Terminal(name="vt"), "\x1b[38;5;"),
    ],
)
def test_a_terminal_gets_its_own_protocol(terminal: Terminal, wanted: str) -> None:
    text = picture_text(GRADIENT, 20, terminal)
    assert wanted in text
    assert text.count("\n") == 9  # 20 cells of 8 pixels are 10 cells of 16


def test_show_needs_no_term_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As under Python 3.14, where it cannot be installed."""
    monkeypatch.setitem(sys.modules, "term_image", None)
    monkeypatch.setitem(sys.modules, "term_image.image", None)
    inspect_runs.print_picture(GRADIENT, 20)
    assert capsys.readouterr().out == picture_text(GRADIENT, 20, None) + "\n"
