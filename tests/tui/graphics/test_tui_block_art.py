"""Block characters against the picture that they stand for, drawn by the test itself."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hero_tui.graphics.block_art import DIAGONAL, LEFT, LOWER, QUADRANTS, SIDE, BlockArt, block_art


def mask(character: str) -> np.ndarray:
    """The character's pixels, by Unicode's description of it."""
    pixels = np.zeros((SIDE, SIDE), bool)
    if character in LOWER:
        pixels[SIDE - 1 - LOWER.index(character) :] = True
    elif character in LEFT:
        pixels[:, : LEFT.index(character) + 1] = True
    elif character == DIAGONAL:
        pixels[:4, :4] = pixels[4:, 4:] = True
    elif character in QUADRANTS:
        top, left = (4 * each for each in QUADRANTS[character])
        pixels[top : top + 4, left : left + 4] = True
    else:
        assert character == " "
    return pixels


def drawn(art: BlockArt) -> np.ndarray:
    rows, columns = art.characters.shape
    shown = np.zeros((rows * SIDE, columns * SIDE, 3))
    for y in range(rows):
        for x in range(columns):
            inked = mask(str(art.characters[y, x]))[:, :, None]
            cell = np.where(inked, art.inks[y, x], art.grounds[y, x])
            shown[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = cell
    return shown


@pytest.mark.parametrize("character", [" ", *LOWER, *LEFT, *QUADRANTS, DIAGONAL])
def test_a_picture_of_a_character_becomes_that_character(character: str) -> None:
    """Or the one with the colours exchanged; what is shown is the same."""
    pixels = np.where(mask(character)[:, :, None], (200, 40, 10), (10, 90, 220))
    art = block_art(Image.fromarray(pixels.astype(np.uint8)), 1, 1)
    assert np.abs(drawn(art) - pixels).max() <= 1


def test_every_cell_is_where_it_belongs() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    pixels = colours.repeat(SIDE, 0).repeat(SIDE, 1)
    art = block_art(Image.fromarray(pixels), 5, 3)
    assert (art.characters == " ").all() and (art.grounds == colours).all()


def test_no_other_character_is_nearer() -> None:
    """On noise, against every character with its own best colours."""
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    found = ((drawn(block_art(Image.fromarray(pixels), 1, 1)) - pixels) ** 2).sum()
    for character in (*LOWER, *LEFT, *QUADRANTS, DIAGONAL):
        parts = (pixels[mask(character)], pixels[~mask(character)])
        other = sum(((part - part.mean(0)) ** 2).sum() for part in parts)
        assert found <= other * 1.001
