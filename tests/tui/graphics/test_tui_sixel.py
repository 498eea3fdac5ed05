"""Our sixels, read back by the tests' own decoder."""

from __future__ import annotations

import numpy as np
import pytest
from fake_terminal import decode_sixel
from PIL import Image

from hero_tui.graphics.sixel_code import BAND, LONGEST, Sixel


def picture(width: int, height: int, colours: int) -> Image.Image:
    """Discs and noise: long runs and short ones."""
    y, x = np.mgrid[:height, :width]
    rings = (np.hypot(x - width / 3, y - height / 2) / 9).astype(int) % 7 * 30
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    pixels = np.stack([rings, np.where(x > width / 2, noise, 60), 255 - rings], axis=2)
    drawn = Image.fromarray(pixels.astype(np.uint8))
    return drawn.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


@pytest.mark.parametrize("colours", [2, 13, 64])
@pytest.mark.parametrize("size", [(132, 132), (7, BAND), (2 * LONGEST + 9, 2 * BAND)])
def test_the_sent_bytes_are_the_picture_with_the_stated_length(
    size: tuple[int, int], colours: int
) -> None:
    sent = picture(*size, colours)
    sixel = Sixel.of(sent)
    assert sixel.length == len(sixel.text)
    shown = decode_sixel(sixel.text.partition("q")[2].removesuffix("\x1b\\"))
    wanted = np.asarray(sent.convert("RGB")).astype(int)
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(int) - wanted).max() <= 2  # sixel has percents


def test_colours_that_sixel_cannot_tell_apart_are_sent_as_one() -> None:
    pixels = np.full((BAND, 4, 3), 100, np.uint8)
    pixels[:, 2:] = 101
    few = Image.fromarray(pixels).quantize(2, Image.Quantize.FASTOCTREE)
    assert len(Sixel.of(few).lines) == 1


def test_every_register_below_the_last_is_defined() -> None:
    """tmux 3.6 and later would define the others wrongly, and xterm then draws nothing."""
    pixels = Image.fromarray(np.full((BAND, 4), 2, np.uint8), "P")
    pixels.putpalette([0, 0, 0, 90, 90, 90, 255, 0, 0])
    assert [f"#{each};2;" in Sixel.of(pixels).text for each in range(4)] == [True] * 3 + [False]


def test_columns_far_apart_are_where_they_were() -> None:
    """More empty ones in between than one `!n` repeats, and a run longer than that."""
    pixels = np.zeros((BAND, 4 * LONGEST, 3), np.uint8)
    pixels[:, 3] = pixels[1:3, 3 * LONGEST] = (255, 0, 0)
    sixel = Sixel.of(Image.fromarray(pixels).quantize(2, Image.Quantize.FASTOCTREE))
    shown = decode_sixel(sixel.text.partition("q")[2].removesuffix("\x1b\\"))
    assert (shown == pixels).all() and sixel.length == len(sixel.text)
    assert f"!{LONGEST}?" in sixel.text
