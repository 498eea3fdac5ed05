"""A picture as block characters: the best of halves, eighths and quadrants for every cell.

A character paints some of a cell's pixels in one colour and the rest in another. The best one
leaves the smallest squared error with the mean colours of both parts.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 8
"""Points of a cell, across and down, that are looked at; a character's edges are at eighths."""

LOWER, LEFT = "▁▂▃▄▅▆▇", "▏▎▍▌▋▊▉"
"""Eighths of a cell from below and from the left. Those from above and from the right are the same
with the two colours exchanged."""

QUADRANTS = {"▘": (0, 0), "▝": (0, 1), "▖": (1, 0), "▗": (1, 1)}
DIAGONAL = "▚"

Colours = npt.NDArray[np.uint8]


class BlockArt(NamedTuple):
    """R x C cells. `characters`: (R, C) of one character each; `inks` and `grounds`: (R, C, 3), the
    colours of the character and behind it, 0 to 255."""

    characters: npt.NDArray[np.str_]
    inks: Colours
    grounds: Colours


class Shapes(NamedTuple):
    """G characters, their pixels as 0 and 1, (G, SIDE * SIDE), and how many are 1, (G, 1)."""

    characters: npt.NDArray[np.str_]
    masks: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.float32]


def block_art(picture: Image.Image, columns: int, rows: int) -> BlockArt:
    """An RGB picture on columns x rows cells."""
    size = columns * SIDE, rows * SIDE
    pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS), np.float32)
    grid = pixels.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 1, 3, 4)
    cells_N_P_3 = grid.reshape(rows * columns, SIDE * SIDE, 3)
    shapes = _shapes()
    inked_N_G_3 = shapes.masks @ cells_N_P_3
    left_N_G_3 = cells_N_P_3.sum(1, keepdims=True) - inked_N_G_3
    unpainted = SIDE * SIDE - shapes.sizes
    inks = inked_N_G_3 / np.maximum(shapes.sizes, 1)
    grounds = left_N_G_3 / unpainted
    best = ((inks * inked_N_G_3) + (grounds * left_N_G_3)).sum(2).argmax(1)
    each = np.arange(len(best))
    return BlockArt(
        shapes.characters[best].reshape(rows, columns),
        _colours(inks[each, best]).reshape(rows, columns, 3),
        _colours(grounds[each, best]).reshape(rows, columns, 3),
    )


def _colours(means: npt.NDArray[np.float32]) -> Colours:
    return np.clip(np.rint(means), 0, 255).astype(np.uint8)


@cache
def _shapes() -> Shapes:
    """A blank first: where nothing is better, a cell is one colour."""
    down, across = np.mgrid[:SIDE, :SIDE]
    half = SIDE // 2
    masks = {" ": np.zeros((SIDE, SIDE), bool)}
    masks |= {sign: down >= SIDE - 1 - at for at, sign in enumerate(LOWER)}
    masks |= {sign: across <= at for at, sign in enumerate(LEFT)}
    quarters = {
        sign: (down // half == y) & (across // half == x) for sign, (y, x) in QUADRANTS.items()
    }
    masks |= quarters | {DIAGONAL: quarters["▘"] | quarters["▗"]}
    flat = np.array([mask.ravel() for mask in masks.values()], np.float32)
    return Shapes(np.array([*masks]), flat, flat.sum(1, keepdims=True))
